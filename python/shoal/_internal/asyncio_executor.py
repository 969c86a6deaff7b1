"""An asyncio actor's calls run as coroutines of an event loop in the main thread (see coroutine_calls.h)."""

from __future__ import annotations

import asyncio
import contextvars
import selectors
from collections.abc import Callable
from typing import Any

from shoal import _shoal
from shoal._internal.executors import Executor

# The task that runs in an asyncio context; the C++ side sets and reads it.
_current: contextvars.ContextVar[_shoal.Task | None] = contextvars.ContextVar("shoal_task", default=None)


class _CallSelector(selectors.EpollSelector):
    """What the loop sleeps in: it waits for calls and for the loop's descriptors at the same time, in one thread."""

    def __init__(self, stop: Callable[[], None]) -> None:
        super().__init__()
        self._stop = stop
        _shoal.watch_fd(self.fileno())

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if not _shoal.start_calls(timeout):
            self._stop()
        return super().select(0)


class AsyncioExecutor(Executor):
    """Calls are coroutines of one event loop in the main thread, which takes calls where it waits for the rest."""

    def __init__(self) -> None:
        super().__init__(threads=0)
        self._exiting = False
        self._loop = asyncio.SelectorEventLoop(_CallSelector(self._stop))
        asyncio.set_event_loop(self._loop)
        _shoal.set_task_variable(_current)

    def create(self, task: _shoal.Task, cls: Any) -> Any:
        # In the loop, because constructors make locks, queues and tasks of it.
        async def construct() -> Any:
            _current.set(task)
            args, kwargs = task.arguments()
            return cls(*args, **kwargs)

        instance = self._loop.run_until_complete(construct())
        _shoal.serve_coroutines(instance, self._loop, asyncio.Task, asyncio.CancelledError)
        return instance

    def serve(self) -> None:
        while not self._exiting:  # a call may stop the loop
            self._loop.run_forever()

    def _stop(self) -> None:
        self._exiting = True
        self._loop.stop()

    def cancel(self, task_id: str) -> None:
        def stop() -> None:
            running = _shoal.running_call(task_id)
            if running is not None:
                running.cancel()

        self._loop.call_soon_threadsafe(stop)
