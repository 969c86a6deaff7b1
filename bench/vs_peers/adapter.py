"""What the rows ask of a library: single calls and batches of a function that does nothing, and of an actor's method.

An adapter starts its library with WORKERS workers when it is made, and has them run something.
"""

from __future__ import annotations

import abc
import os

WORKERS = os.cpu_count() or 2


def nothing() -> bytes:
    """The task."""
    return b"ok"


class Server:
    """The actor."""

    def nothing(self) -> bytes:
        return b"ok"


class Adapter(abc.ABC):
    has_actors = False

    @abc.abstractmethod
    def call(self) -> None:
        """Submits one task and waits for its result."""

    @abc.abstractmethod
    def batch(self, count: int) -> None:
        """Submits `count` tasks, then waits for all results."""

    def actor_call(self) -> None:
        """As call(), of an actor's method."""
        raise NotImplementedError

    def actor_batch(self, count: int) -> None:
        """As batch(), of one actor's method."""
        raise NotImplementedError

    @abc.abstractmethod
    def close(self) -> None:
        """Ends all processes that the library has started."""
