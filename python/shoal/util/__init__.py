"""Placement groups, pools and queues."""

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from shoal import _shoal
from shoal.exceptions import GetTimeoutError
from shoal.util.placement_group import (
    get_current_placement_group,
    get_placement_group,
    placement_group,
    placement_group_table,
    remove_placement_group,
)

__all__ = [
    "ActorPool",
    "as_completed",
    "get_current_placement_group",
    "get_placement_group",
    "map_unordered",
    "placement_group",
    "placement_group_table",
    "remove_placement_group",
]


def as_completed(refs: Sequence[Any], *, timeout: float | None = None) -> Iterator[Any]:
    """Values of references in the order in which they come; GetTimeoutError if one is not there in time."""
    waiting = list(refs)
    deadline = None if timeout is None else time.monotonic() + timeout
    while waiting:
        left = None if deadline is None else max(deadline - time.monotonic(), 0)
        ready, waiting = _shoal.wait(waiting, timeout=left)
        if not ready:
            raise GetTimeoutError(f"{len(waiting)} values were not there in time.")
        yield _shoal.get(ready[0])


def map_unordered(function: Any, items: Iterable[Any], *, backpressure_size: int = 100) -> Iterator[Any]:
    """Values of function.remote(item) in the order in which they come, with so many in flight at most."""
    waiting: list[Any] = []
    for item in items:
        if len(waiting) >= backpressure_size:
            (first,), waiting = _shoal.wait(waiting)
            yield _shoal.get(first)
        waiting.append(function.remote(item))
    yield from as_completed(waiting)


def __getattr__(name: str) -> Any:
    # ActorPool stands on the whole package, which is being imported while this module is.
    if name == "ActorPool":
        from shoal.util.actor_pool import ActorPool

        return ActorPool
    raise AttributeError(f"module 'shoal.util' has no attribute {name!r}")
