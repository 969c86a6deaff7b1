"""A pool of actors that share a stream of work."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import shoal


class ActorPool:
    """Hands values to whichever actor is free.

    pool = ActorPool([Worker.remote() for _ in range(4)])
    list(pool.map(lambda actor, value: actor.double.remote(value), range(10)))
    """

    def __init__(self, actors: Iterable[Any]) -> None:
        self._idle: deque[Any] = deque(actors)
        self._running: dict[shoal.ObjectRef[Any], tuple[int, Any]] = {}
        self._by_index: dict[int, shoal.ObjectRef[Any]] = {}
        self._next_task = 0
        self._next_return = 0
        self._waiting: deque[tuple[Callable[[Any, Any], shoal.ObjectRef[Any]], Any]] = deque()

    def map(self, fn: Callable[[Any, Any], shoal.ObjectRef[Any]], values: Iterable[Any]) -> Iterator[Any]:
        """Results of fn(actor, value) in the order of the values."""
        self._drop_unread()
        for value in values:
            self.submit(fn, value)

        def results() -> Iterator[Any]:
            while self.has_next():
                yield self.get_next()

        return results()

    def map_unordered(self, fn: Callable[[Any, Any], shoal.ObjectRef[Any]], values: Iterable[Any]) -> Iterator[Any]:
        """Results of fn(actor, value) as they come."""
        self._drop_unread()
        for value in values:
            self.submit(fn, value)

        def results() -> Iterator[Any]:
            while self.has_next():
                yield self.get_next_unordered()

        return results()

    def _drop_unread(self) -> None:
        # Calls of one actor run in order, so it may be given more while it still works on what nobody will read.
        self._waiting.clear()
        self._idle.extend(actor for _, actor in self._running.values())
        self._running.clear()
        self._by_index.clear()

    def submit(self, fn: Callable[[Any, Any], shoal.ObjectRef[Any]], value: Any) -> None:
        """Runs fn(actor, value) on the next actor that is free."""
        if not self._idle:
            self._waiting.append((fn, value))
            return
        actor = self._idle.pop()
        ref = fn(actor, value)
        if not isinstance(ref, shoal.ObjectRef):
            self._idle.append(actor)
            raise TypeError(
                f"The function must return one ObjectRef, not {type(ref).__name__}: let it call one method."
            )
        self._running[ref] = (self._next_task, actor)
        self._by_index[self._next_task] = ref
        self._next_task += 1

    def has_next(self) -> bool:
        """True if a result is still to come."""
        return bool(self._running) or bool(self._waiting)

    def get_next(self, timeout: float | None = None, ignore_if_timedout: bool = False) -> Any:
        """The next result in the order of submission. Raises StopIteration when there is none to come.

        After `timeout` seconds TimeoutError is raised; with `ignore_if_timedout` this result is then given up, too.
        """
        if not self.has_next():
            raise StopIteration("No more results to get.")
        while self._next_return not in self._by_index:
            if not self._running:
                raise ValueError("The pool has no actors: push() one.")
            if self._next_return >= self._next_task:
                raise ValueError("get_next() cannot follow get_next_unordered() until all results were read.")
            self._next_return += 1
        ref = self._by_index[self._next_return]
        ready, _ = shoal.wait([ref], timeout=timeout)
        if not ready:
            if ignore_if_timedout:  # nobody waits for it any more
                self._next_return += 1
                self._give_up(ref)
            raise TimeoutError("The next result was not there in time.")
        self._next_return += 1
        return self._take(ref)

    def get_next_unordered(self, timeout: float | None = None, ignore_if_timedout: bool = False) -> Any:
        """Whichever result comes next; raises as get_next. `ignore_if_timedout` gives the oldest one up."""
        if not self.has_next():
            raise StopIteration("No more results to get.")
        if not self._running:
            raise ValueError("The pool has no actors: push() one.")
        ready, _ = shoal.wait(list(self._running), num_returns=1, timeout=timeout)
        if not ready:
            if ignore_if_timedout:
                self._give_up(min(self._running, key=lambda ref: self._running[ref][0]))
            raise TimeoutError("No result was there in time.")
        return self._take(ready[0])

    def _give_up(self, ref: shoal.ObjectRef[Any]) -> None:
        # Its actor still works on it; calls of one actor run in order, so what it is given next waits there.
        index, actor = self._running.pop(ref)
        del self._by_index[index]
        self._return_actor(actor)

    def _take(self, ref: shoal.ObjectRef[Any]) -> Any:
        index, actor = self._running.pop(ref)
        del self._by_index[index]
        self._return_actor(actor)
        return shoal.get(ref)

    def _return_actor(self, actor: Any) -> None:
        self._idle.append(actor)
        if self._waiting:
            self.submit(*self._waiting.popleft())

    def has_free(self) -> bool:
        """True if an actor is idle and nothing waits for it."""
        return bool(self._idle) and not self._waiting

    def pop_idle(self) -> Any | None:
        """Takes an idle actor out of the pool, or returns None."""
        return self._idle.pop() if self.has_free() else None

    def push(self, actor: Any) -> None:
        """Adds an actor to the pool."""
        if actor in self._idle or any(actor is busy for _, busy in self._running.values()):
            raise ValueError("This actor is in the pool already.")
        self._return_actor(actor)
