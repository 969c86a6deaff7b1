"""Large arrays between stages: each is written to the node's store once and read there in place."""

import numpy as np

import shoal


@shoal.remote
def load(number: int) -> np.ndarray:
    return np.random.default_rng(number).standard_normal((1000, 256))


@shoal.remote
def normalise(block: np.ndarray) -> np.ndarray:
    assert not block.flags.writeable  # a view of the store, shared with everybody who reads it
    return (block - block.mean(axis=0)) / block.std(axis=0)


@shoal.remote(num_returns=2)
def moments(block: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return block.sum(axis=0), (block**2).sum(axis=0)


def main() -> None:
    shoal.init()
    blocks = [normalise.remote(load.remote(number)) for number in range(8)]
    # Results are taken as they come, not in the order of submission.
    waiting = {ref: index for index, block in enumerate(blocks) for ref in [moments.remote(block)[1]]}
    total = np.zeros(256)
    while waiting:
        done, _ = shoal.wait(list(waiting))
        for ref in done:
            total += shoal.get(ref)
            del waiting[ref]
    print(f"variance {total.mean() / 8000:.3f}")


if __name__ == "__main__":
    main()
