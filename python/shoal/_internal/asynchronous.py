"""`await ref` and `ref.future()`: the core tells a Notifier which values are there; it wakes a loop or a thread."""

from __future__ import annotations

import asyncio
import concurrent.futures
import itertools
import threading
import weakref
from collections.abc import Generator
from typing import Any

from shoal import _shoal
from shoal.exceptions import LocalRayletDiedError

_Future = Any  # asyncio.Future or concurrent.futures.Future: they share what is used here


class _Pending:
    """Futures that wait for references, by token."""

    def __init__(self) -> None:
        self.notifier = _shoal.Notifier()
        self._tokens = itertools.count(1)
        self._waiting: dict[int, tuple[_shoal.ObjectRef[Any], _Future]] = {}
        _everyone.add(self)

    def add(self, ref: _shoal.ObjectRef[Any], future: _Future) -> None:
        token = next(self._tokens)
        self._waiting[token] = (ref, future)
        self.notifier.watch(ref, token)

    def resolve(self, tokens: list[int]) -> None:
        for token in tokens:
            entry = self._waiting.pop(token, None)
            if entry is not None:
                self._settle(*entry)

    def _settle(self, ref: _shoal.ObjectRef[Any], future: _Future) -> None:
        if future.done():
            return
        try:
            found = _shoal._try_get(ref)
        except Exception as error:
            future.set_exception(error)
            return
        if found is None:  # it was there and is gone again
            self.add(ref, future)
        else:
            future.set_result(found[0])

    def take_all(self) -> list[_Future]:
        waiting, self._waiting = self._waiting, {}
        return [future for _, future in waiting.values()]


_everyone: weakref.WeakSet[_Pending] = weakref.WeakSet()


class _LoopPending(_Pending):
    """Those of one event loop, woken by a file descriptor."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        # The loop holds on to the reader, so it must not hold this: a loop that is dropped takes both with it.
        me = weakref.ref(self)
        self._loop = weakref.ref(loop)

        def readable() -> None:
            pending = me()
            if pending is not None:
                pending.resolve(pending.notifier.drain())

        loop.add_reader(self.notifier.fileno(), readable)

    def fail(self, error: Exception) -> None:
        loop = self._loop()
        futures = self.take_all()
        if loop is None or loop.is_closed() or not futures:
            return
        loop.call_soon_threadsafe(_fail_all, futures, error)


class _ThreadPending(_Pending):
    """Those of concurrent futures, woken by a thread that is started with the first one."""

    def __init__(self) -> None:
        super().__init__()
        threading.Thread(target=self._run, name="shoal-futures", daemon=True).start()

    def _run(self) -> None:
        while True:
            self.resolve(self.notifier.wait())

    def fail(self, error: Exception) -> None:
        _fail_all(self.take_all(), error)


def _fail_all(futures: list[_Future], error: Exception) -> None:
    for future in futures:
        if not future.done():
            future.set_exception(error)


_by_loop: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _LoopPending] = weakref.WeakKeyDictionary()
_by_thread: _ThreadPending | None = None
_lock = threading.Lock()


def as_future(ref: _shoal.ObjectRef[Any]) -> asyncio.Future[Any]:
    """A future of the running event loop."""
    loop = asyncio.get_running_loop()
    pending = _by_loop.get(loop)
    if pending is None:
        pending = _by_loop[loop] = _LoopPending(loop)
    future: asyncio.Future[Any] = loop.create_future()
    pending.add(ref, future)
    return future


def await_ref(ref: _shoal.ObjectRef[Any]) -> Generator[Any, None, Any]:
    """What `await ref` runs."""
    found = _shoal._try_get(ref)
    if found is not None:
        return found[0]
    return (yield from as_future(ref).__await__())


def ref_future(ref: _shoal.ObjectRef[Any]) -> concurrent.futures.Future[Any]:
    """A future that any thread may wait for."""
    global _by_thread
    with _lock:
        if _by_thread is None:
            _by_thread = _ThreadPending()
    future: concurrent.futures.Future[Any] = concurrent.futures.Future()
    future.set_running_or_notify_cancel()
    _by_thread.add(ref, future)
    return future


def fail_pending() -> None:
    """When the session ends: nobody will bring the values any more."""
    error = LocalRayletDiedError("The session was shut down before the value was there.")
    for pending in list(_everyone):
        if isinstance(pending, (_LoopPending, _ThreadPending)):
            pending.fail(error)


_shoal.set_hook("await_ref", await_ref)
_shoal.set_hook("ref_future", ref_future)
_shoal.set_hook("as_future", as_future)
