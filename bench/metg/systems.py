"""Runs graphs on one of the Python systems, as requests.h describes: python systems.py SYSTEM CORES WIDTH

Tasks and actors get the results of other tasks as references and everything is submitted at once; a pool of processes
knows no references, so there a row is submitted when the one before is done.
"""

from __future__ import annotations

import concurrent.futures
import importlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import graph

Rows = list[list[tuple[list[int], bool]]]
Run = Callable[[Rows, int], int]  # rows and iterations to the leaves' sum


def by_reference(submit: Callable[..., Any], fetch: Callable[[list[Any]], Sequence[int]]) -> Run:
    """`submit(t, i, iterations, *references)` returns the reference of a point, `fetch` their values."""

    def run(rows: Rows, iterations: int) -> int:
        before: list[Any] = []
        leaves: list[Any] = []
        for t, row in enumerate(rows):
            refs = [submit(t, i, iterations, *[before[j] for j in columns]) for i, (columns, _) in enumerate(row)]
            leaves += [ref for ref, (_, is_leaf) in zip(refs, row, strict=True) if is_leaf]
            before = refs
        return sum(fetch(leaves))

    return run


@contextmanager
def initialized(name: str, cores: int) -> Iterator[Any]:
    library = importlib.import_module(name)
    if name == "ray":
        library.init(num_cpus=cores, include_dashboard=False, log_to_driver=False, logging_level="error")
    else:
        library.init("local", num_cpus=cores)
    yield library
    library.shutdown()


@contextmanager
def tasks(name: str, cores: int, width: int) -> Iterator[Run]:
    with initialized(name, cores) as library:
        yield by_reference(library.remote(graph.point).remote, library.get)


@contextmanager
def actors(name: str, cores: int, width: int) -> Iterator[Run]:
    """An actor per core owns a block of columns, as a rank of MPI does."""

    class Columns:
        def point(self, t: int, i: int, iterations: int, *inputs: int) -> int:
            return graph.point(t, i, iterations, *inputs)

    with initialized(name, cores) as library:
        blocks = [library.remote(num_cpus=1)(Columns).remote() for _ in range(cores)]
        methods = [blocks[i * cores // width].point.remote for i in range(width)]
        yield by_reference(lambda t, i, *others: methods[i](t, i, *others), library.get)


@contextmanager
def dask(name: str, cores: int, width: int) -> Iterator[Run]:
    distributed = importlib.import_module("distributed")
    with distributed.Client(n_workers=cores, threads_per_worker=1, dashboard_address=None) as client:

        def submit(*arguments: Any) -> Any:
            return client.submit(graph.point, *arguments, pure=False)

        yield by_reference(submit, client.gather)


@contextmanager
def pool(name: str, cores: int, width: int) -> Iterator[Run]:
    with concurrent.futures.ProcessPoolExecutor(cores) as executor:

        def run(rows: Rows, iterations: int) -> int:
            before: list[int] = []
            total = 0
            for t, row in enumerate(rows):
                futures = [
                    executor.submit(graph.point, t, i, iterations, *[before[j] for j in columns])
                    for i, (columns, _) in enumerate(row)
                ]
                before = [future.result() for future in futures]
                total += sum(value for value, (_, is_leaf) in zip(before, row, strict=True) if is_leaf)
            return total

        yield run


SYSTEMS = {
    "shoal-tasks": (tasks, "shoal"),
    "shoal-actors": (actors, "shoal"),
    "ray-tasks": (tasks, "ray"),
    "dask": (dask, ""),
    "pool": (pool, ""),
}


def main() -> None:
    system, name = SYSTEMS[sys.argv[1]]
    cores, width = int(sys.argv[2]), int(sys.argv[3])
    with system(name, cores, width) as run:
        for line in sys.stdin:
            pattern, steps, iterations = line.split()
            rows = list(graph.Graph(pattern, width, int(steps), int(iterations)).rows())
            began = time.perf_counter()
            checksum = run(rows, int(iterations))
            print(f"{time.perf_counter() - began:.9f} {checksum}", flush=True)


if __name__ == "__main__":
    main()
