"""A queue that tasks and actors on any machine share; an asyncio actor holds it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from queue import Empty as _Empty
from queue import Full as _Full
from typing import Any

import shoal


class Empty(_Empty):
    """Nothing to take."""


class Full(_Full):
    """No room."""


class _QueueActor:
    def __init__(self, maxsize: int) -> None:
        self._maxsize = maxsize
        self._queue: asyncio.Queue[Any] = asyncio.Queue(maxsize)

    async def qsize(self) -> int:
        return self._queue.qsize()

    async def put(self, item: Any, timeout: float | None) -> bool:
        try:
            await asyncio.wait_for(self._queue.put(item), timeout)
        except asyncio.TimeoutError:
            return False
        return True

    async def get(self, timeout: float | None) -> tuple[bool, Any]:
        try:
            return True, await asyncio.wait_for(self._queue.get(), timeout)
        except asyncio.TimeoutError:
            return False, None

    async def put_nowait_batch(self, items: list[Any]) -> bool:
        if self._maxsize > 0 and self._queue.qsize() + len(items) > self._maxsize:
            return False
        for item in items:
            self._queue.put_nowait(item)
        return True

    async def get_nowait_batch(self, count: int) -> list[Any] | None:
        if count > self._queue.qsize():
            return None
        return [self._queue.get_nowait() for _ in range(count)]


def _check_timeout(timeout: float | None) -> None:
    if timeout is not None and timeout < 0:
        raise ValueError(f"timeout must be zero or more, not {timeout}.")


class Queue:
    """First in, first out; `maxsize` 0 means without limit. A handle: copies share the queue."""

    def __init__(self, maxsize: int = 0, actor_options: dict[str, Any] | None = None) -> None:
        self.maxsize = maxsize
        options = {"max_concurrency": 1000, "num_cpus": 0, **(actor_options or {})}
        self._actor: Any = shoal.remote(_QueueActor).options(**options).remote(maxsize)

    @property
    def actor(self) -> Any:
        """The actor that holds the items."""
        if self._actor is None:
            raise RuntimeError("This queue was shut down: make another.")
        return self._actor

    def __len__(self) -> int:
        return self.size()

    def size(self) -> int:
        """How many items wait."""
        return int(shoal.get(self.actor.qsize.remote()))

    def qsize(self) -> int:
        """How many items wait."""
        return self.size()

    def empty(self) -> bool:
        """True if nothing waits."""
        return self.size() == 0

    def full(self) -> bool:
        """True if there is no room."""
        return self.maxsize > 0 and self.size() >= self.maxsize

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """Adds an item; raises Full if there is no room in time."""
        _check_timeout(timeout)
        if not block:
            return self.put_nowait_batch([item])
        if not shoal.get(self.actor.put.remote(item, timeout)):
            raise Full("The queue was full all the time.")
        return None

    async def put_async(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """As put, for asyncio."""
        _check_timeout(timeout)
        if not block:
            if not await self.actor.put_nowait_batch.remote([item]):
                raise Full("The queue is full.")
        elif not await self.actor.put.remote(item, timeout):
            raise Full("The queue was full all the time.")

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Takes an item; raises Empty if there is none in time."""
        _check_timeout(timeout)
        if not block:
            return self.get_nowait_batch(1)[0]
        found, item = shoal.get(self.actor.get.remote(timeout))
        if not found:
            raise Empty("The queue was empty all the time.")
        return item

    async def get_async(self, block: bool = True, timeout: float | None = None) -> Any:
        """As get, for asyncio."""
        _check_timeout(timeout)
        if not block:
            items = await self.actor.get_nowait_batch.remote(1)
            if items is None:
                raise Empty("The queue is empty.")
            return items[0]
        found, item = await self.actor.get.remote(timeout)
        if not found:
            raise Empty("The queue was empty all the time.")
        return item

    def put_nowait(self, item: Any) -> None:
        """Adds an item or raises Full."""
        self.put(item, block=False)

    def get_nowait(self) -> Any:
        """Takes an item or raises Empty."""
        return self.get(block=False)

    def put_nowait_batch(self, items: Iterable[Any]) -> None:
        """Adds all items or raises Full."""
        if isinstance(items, (str, bytes)) or not isinstance(items, Iterable):
            raise TypeError(f"items must be a list, not {type(items).__name__}.")
        batch = list(items)
        if not shoal.get(self.actor.put_nowait_batch.remote(batch)):
            raise Full(f"The queue has no room for {len(batch)} more items.")

    def get_nowait_batch(self, num_items: int) -> list[Any]:
        """Takes that many items or raises Empty."""
        if not isinstance(num_items, int) or num_items < 0:
            raise ValueError(f"num_items must be an int of zero or more, not {num_items!r}.")
        items = shoal.get(self.actor.get_nowait_batch.remote(num_items))
        if items is None:
            raise Empty(f"The queue has fewer than {num_items} items.")
        return list(items)

    def shutdown(self, force: bool = False, grace_period_s: int = 5) -> None:
        """Ends the actor; what still waits in the queue is lost. Calls under way have `grace_period_s` seconds to end,
        none with `force`.
        """
        actor, self._actor = self._actor, None
        if actor is None:
            return
        if not force:
            shoal.wait([actor.__ray_terminate__.remote()], timeout=grace_period_s)
        shoal.kill(actor, no_restart=True)
