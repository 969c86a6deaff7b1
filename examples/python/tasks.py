"""Functions that run on the cluster, in parallel, and depend on each other."""

import random

import shoal


@shoal.remote
def points_in_circle(samples: int, seed: int) -> int:
    generator = random.Random(seed)
    return sum(generator.random() ** 2 + generator.random() ** 2 < 1 for _ in range(samples))


@shoal.remote
def add(a: int, b: int) -> int:
    return a + b


def main() -> None:
    shoal.init()
    tasks, samples = 16, 20_000
    counts = [points_in_circle.remote(samples, seed) for seed in range(tasks)]
    # A tree of sums: each task starts when both of its arguments are there. Nothing passes through this process.
    while len(counts) > 1:
        counts = [add.remote(a, b) for a, b in zip(counts[::2], counts[1::2], strict=True)]
    pi = 4 * shoal.get(counts[0]) / (tasks * samples)
    print(f"pi is about {pi:.2f}")


if __name__ == "__main__":
    main()
