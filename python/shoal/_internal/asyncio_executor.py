"""How an asyncio actor's calls run: as coroutines of an event loop in the main thread."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import selectors
from collections.abc import Callable
from typing import Any

from shoal import _shoal
from shoal._internal.executors import Executor, method_of
from shoal.exceptions import TaskCancelledError

# The task that runs in an asyncio context; the C++ side reads it too.
_current: contextvars.ContextVar[_shoal.Task | None] = contextvars.ContextVar("shoal_task", default=None)


class _CallSelector(selectors.EpollSelector):
    """What the loop sleeps in: it waits for calls and for the loop's descriptors at the same time, in one thread."""

    def __init__(self, start: Callable[[_shoal.Task], None], stop: Callable[[], None]) -> None:
        super().__init__()
        self._start = start
        self._stop = stop
        _shoal.watch_fd(self.fileno())

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        tasks = _shoal.next_tasks(timeout)
        if tasks is None:
            self._stop()
        else:
            for task in tasks:
                self._start(task)
        return super().select(0)


class AsyncioExecutor(Executor):
    """Calls are coroutines of one event loop in the main thread, which takes calls where it waits for the rest."""

    def __init__(self) -> None:
        super().__init__(threads=0)
        self._running: dict[str, asyncio.Task[None]] = {}
        self._exiting = False
        self._loop = asyncio.SelectorEventLoop(_CallSelector(self._start, self._stop))
        asyncio.set_event_loop(self._loop)
        _shoal.set_task_variable(_current)

    def create(self, task: _shoal.Task, cls: Any) -> Any:
        # In the loop, because constructors make locks, queues and tasks of it.
        async def construct() -> Any:
            _current.set(task)
            args, kwargs = task.arguments()
            return cls(*args, **kwargs)

        self.instance = self._loop.run_until_complete(construct())
        return self.instance

    def serve(self) -> None:
        while not self._exiting:  # a call may stop the loop
            self._loop.run_forever()

    def _start(self, task: _shoal.Task) -> None:
        self._running[task.task_id] = self._loop.create_task(self._run(task))

    def _stop(self) -> None:
        self._exiting = True
        self._loop.stop()

    async def _run(self, task: _shoal.Task) -> None:
        _current.set(task)
        try:
            method = method_of(self.instance, task)
            args, kwargs = task.arguments()
            value = method(*args, **kwargs)
            del args, kwargs
            if inspect.isawaitable(value):
                value = await value
        except asyncio.CancelledError:
            task.fail(TaskCancelledError("The task was cancelled."), False)
        except BaseException as error:
            task.fail(error, False)
        else:
            task.finish(value, False)
        finally:
            self._running.pop(task.task_id, None)

    def cancel(self, task_id: str) -> None:
        def stop() -> None:
            running = self._running.get(task_id)
            if running is not None:
                running.cancel()

        self._loop.call_soon_threadsafe(stop)
