"""How an actor's calls run: in the main thread, in threads, or on an event loop.

The machine hands out no more calls at a time than max_concurrency and the concurrency groups allow, in the order in
which they came; an executor starts each at once.
"""

from __future__ import annotations

import os
import queue
import threading
from typing import Any

from shoal import _shoal
from shoal.exceptions import TaskCancelledError


def method_of(instance: Any, task: _shoal.Task) -> Any:
    """The bound method that a call names."""
    name = task.method_name
    try:
        return getattr(instance, name)
    except AttributeError:
        from shoal._internal.worker import builtin_method

        return builtin_method(instance, name)


class Executor:
    """Calls run in the main thread, which is the C++ loop: only the constructor comes here."""

    is_plain = True  # the C++ loop runs the calls
    fetches = False  # `serve` does

    def create(self, task: _shoal.Task, cls: Any) -> Any:
        """Makes the instance."""
        self.instance = task.call(cls)
        return self.instance

    def submit(self, task: _shoal.Task) -> None:
        """Starts a call."""
        raise NotImplementedError

    def serve(self) -> None:
        """Fetches calls and runs them until the process is to exit."""
        raise NotImplementedError

    def cancel(self, task_id: str) -> None:
        """Stops a call if it runs here."""


def _raise_in(thread: int, error: type[BaseException] | None) -> None:
    """Raises in another thread; None takes back what was not raised yet."""
    import ctypes

    value = None if error is None else ctypes.py_object(error)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), value)


class ThreadExecutor(Executor):
    """Each concurrency group has threads of its own, started when they are needed."""

    is_plain = False

    def __init__(self, sizes: dict[str, int], group_of: dict[str, str]) -> None:
        self._pid = os.getpid()
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
            method = method_of(self.instance, task)
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
                _raise_in(me, None)
                if os.getpid() != self._pid:  # a child that the call forked has returned from it
                    os._exit(0)
        except BaseException as error:
            task.fail(error, False)
        else:
            task.finish(value, False)

    def cancel(self, task_id: str) -> None:
        with self._lock:
            thread = self._threads.get(task_id)
            if thread is not None:
                _raise_in(thread, TaskCancelledError)


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


def make(options: dict[str, Any]) -> Executor:
    """The executor that an actor's options ask for."""
    groups: dict[str, int] = options.get("concurrency_groups") or {}
    if options.get("asyncio"):
        from shoal._internal.asyncio_executor import AsyncioExecutor  # only then: asyncio is large

        return AsyncioExecutor()
    if groups or options.get("max_concurrency", 1) > 1:
        return ThreadExecutor({"": options["max_concurrency"], **groups}, options.get("groups_of_methods") or {})
    return Executor()
