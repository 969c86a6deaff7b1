"""The graphs and the work of graph.h in Python; `point` is what each task of a Python system runs."""

from __future__ import annotations

import ctypes
import pathlib
from collections.abc import Iterator

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PROGRAMS = ROOT / "build/release/bench/metg"
PATTERNS = ("stencil", "fft", "tree", "random")

_library = ctypes.CDLL(str(PROGRAMS / "libmetg_graph.so"))
_library.metg_graph_new.restype = ctypes.c_void_p
_library.metg_graph_tasks.restype = ctypes.c_int64
_library.metg_graph_checksum.restype = ctypes.c_uint64
_library.metg_graph_is_leaf.restype = ctypes.c_bool
_library.metg_point.restype = ctypes.c_uint32
_INPUTS = [ctypes.c_uint32 * count for count in range(6)]


def point(t: int, i: int, iterations: int, *inputs: int) -> int:
    count = len(inputs)
    value: int = _library.metg_point(t, i, iterations, count, _INPUTS[count](*inputs))
    return value


class Graph:
    def __init__(self, pattern: str, width: int, steps: int, iterations: int) -> None:
        self.steps = steps
        self.iterations = iterations
        self._graph = ctypes.c_void_p(_library.metg_graph_new(pattern.encode(), width, steps, iterations))

    def __del__(self) -> None:
        _library.metg_graph_delete(self._graph)

    @property
    def tasks(self) -> int:
        return int(_library.metg_graph_tasks(self._graph))

    def checksum(self) -> int:
        """The sum of the leaves' values, as it has to be."""
        return int(_library.metg_graph_checksum(self._graph))

    def rows(self) -> Iterator[list[tuple[list[int], bool]]]:
        """For each step its points from left to right: the columns of their predecessors; whether they are leaves."""
        for t in range(self.steps):
            yield [self._point(t, i) for i in range(_library.metg_graph_width_at(self._graph, t))]

    def _point(self, t: int, i: int) -> tuple[list[int], bool]:
        columns = (ctypes.c_int * 5)()
        count = _library.metg_graph_predecessors(self._graph, t, i, columns)
        return columns[:count], _library.metg_graph_is_leaf(self._graph, t, i)
