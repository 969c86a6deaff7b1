"""Tasks that start tasks and wait for them: a waiting task lends its CPU out, so depth needs no more of them."""

import shoal


@shoal.remote
def sort(numbers: list[int]) -> list[int]:
    if len(numbers) < 1000:
        return sorted(numbers)
    pivot = numbers[len(numbers) // 2]
    below = sort.remote([n for n in numbers if n < pivot])
    above = sort.remote([n for n in numbers if n > pivot])
    equal = [n for n in numbers if n == pivot]
    return shoal.get(below) + equal + shoal.get(above)


def main() -> None:
    shoal.init(num_cpus=2)
    numbers = [n * 7919 % 10_007 for n in range(10_007)]
    print("sorted" if shoal.get(sort.remote(numbers)) == sorted(numbers) else "not sorted")


if __name__ == "__main__":
    main()
