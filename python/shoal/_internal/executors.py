"""How an actor's calls run: in the main thread, in threads, or on an event loop.

The machine hands out no more calls at a time than max_concurrency and the concurrency groups allow, in the order in
which they came; an executor starts each at once.
"""

from __future__ import annotations

import asyncio
import contextvars
import ctypes
import inspect
import queue
import selectors
import threading
from collections.abc import Callable
from typing import Any

from shoal import _shoal
from shoal.exceptions import TaskCancelledError

# The task that runs in an asyncio context; the C++ side reads it too.
_current: contextvars.ContextVar[_shoal.Task | None] = contextvars.ContextVar("shoal_task", default=None)


def _method_of(instance: Any, task: _shoal.Task) -> Any:
    name = task.method_name
    try:
        return getattr(instance, name)
    except AttributeError:
        from shoal._internal.worker import builtin_method

        return builtin_method(instance, name)


class Executor:
    """Calls run in the main thread, which is the C++ loop: only the constructor comes here."""

    is_plain = True

    def create(self, task: _shoal.Task, cls: Any) -> Any:
        """Makes the instance."""
        self.instance = task.call(cls)
        return self.instance

    def submit(self, task: _shoal.Task) -> None:
        """Starts a call."""
        raise NotImplementedError

    def cancel(self, task_id: str) -> None:
        """Stops a call if it runs here."""


class ThreadExecutor(Executor):
    """Each concurrency group has threads of its own, started when they are needed."""

    is_plain = False

    def __init__(self, sizes: dict[str, int], group_of: dict[str, str]) -> None:
        self._group_of = group_of
        self._pools = {name: _Pool(self, name, size) for name, size in sizes.items()}
        self._lock = threading.Lock()
        self._threads: dict[str, int] = {}  # of running calls

    def submit(self, task: _shoal.Task) -> None:
        group = task.concurrency_group or self._group_of.get(task.method_name, "")
        self._pools.get(group, self._pools[""]).submit(task)

    def run(self, task: _shoal.Task) -> None:
        """One call, in a thread of a pool."""
        try:
            method = _method_of(self.instance, task)
        except AttributeError as error:
            task.fail(error, False)
            return
        me = threading.get_ident()
        task_id = task.task_id
        with self._lock:
            self._threads[task_id] = me
        try:
            try:
                value = task.call(method)
            finally:
                with self._lock:
                    del self._threads[task_id]
                # A cancellation that came too late must not hit the next call.
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(me), None)
        except BaseException as error:
            task.fail(error, False)
        else:
            task.finish(value, False)

    def cancel(self, task_id: str) -> None:
        with self._lock:
            thread = self._threads.get(task_id)
            if thread is not None:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(TaskCancelledError))


class _Pool:
    def __init__(self, executor: ThreadExecutor, name: str, size: int) -> None:
        self._executor = executor
        self._name = name
        self._size = size
        self._queue: queue.SimpleQueue[_shoal.Task] = queue.SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._count = 0

    def submit(self, task: _shoal.Task) -> None:
        self._queue.put(task)
        if not self._idle.acquire(blocking=False) and self._count < self._size:
            self._count += 1
            threading.Thread(target=self._work, name=f"shoal-{self._name or 'actor'}", daemon=True).start()

    def _work(self) -> None:
        while True:
            try:
                task = self._queue.get_nowait()
            except queue.Empty:
                self._idle.release()
                task = self._queue.get()
            try:
                self._executor.run(task)
            except TaskCancelledError:  # aimed at a call that had just ended
                pass
            del task


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

    is_plain = False

    def __init__(self) -> None:
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
        """Runs calls until the process is to exit."""
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
            method = _method_of(self.instance, task)
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


def make(options: dict[str, Any]) -> Executor:
    """The executor that an actor's options ask for."""
    groups: dict[str, int] = options.get("concurrency_groups") or {}
    if options.get("asyncio"):
        return AsyncioExecutor()
    if groups or options.get("max_concurrency", 1) > 1:
        return ThreadExecutor({"": options["max_concurrency"], **groups}, options.get("groups_of_methods") or {})
    return Executor()
