"""Pickling with code: cloudpickle, and what it lacks."""

from __future__ import annotations

import collections
import copyreg
import io
import pickle
import threading
import types
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import cloudpickle

from shoal import _shoal
from shoal._internal.checks import shown
from shoal.exceptions import TaskCancelledError


def _rebuild_memoryview(buffer: Any, shape_format: tuple[str, tuple[int, ...]] | None) -> memoryview:
    view = memoryview(buffer)
    return view if shape_format is None else view.cast(shape_format[0], shape_format[1])  # type: ignore[call-overload]


def _reduce_memoryview(view: memoryview) -> tuple[Any, ...]:
    flat = view.format == "B" and view.ndim == 1
    contiguous = view if view.c_contiguous else memoryview(view.tobytes()).cast("B")
    return _rebuild_memoryview, (pickle.PickleBuffer(contiguous), None if flat else (view.format, view.shape))


def _reduce_code(code: types.CodeType) -> tuple[Any, ...]:
    # cloudpickle drops the name of the file, and with it the lines of source in a worker's traceback.
    build, parts = cloudpickle.Pickler._dispatch_table[types.CodeType](code)
    return build, tuple(code.co_filename if part == "<dynamic-code>" else part for part in parts)


class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    """cloudpickle's, which alone would turn a memoryview into bytes and forget where code came from."""

    dispatch_table: ClassVar[Any] = collections.ChainMap(
        {memoryview: _reduce_memoryview, types.CodeType: _reduce_code},
        cloudpickle.Pickler._dispatch_table,
        copyreg.dispatch_table,
    )


def dumps(value: Any, protocol: int, buffer_callback: Callable[[pickle.PickleBuffer], Any] | None = None) -> bytes:
    """Anything as a pickle; large buffers go to the callback."""
    file = io.BytesIO()
    try:
        Pickler(file, protocol=protocol, buffer_callback=buffer_callback).dump(value)
    except RecursionError as error:
        raise pickle.PicklingError(f"{type(value).__name__} is nested too deeply to be pickled.") from error
    except TypeError as error:
        raise TypeError(f"{type(value).__name__} cannot be sent to another process: {error}.") from error
    return file.getvalue()


def dumps_code(target: Any) -> bytes:
    """A function or class as bytes; everything it refers to travels by value unless it can be imported."""
    try:
        return dumps(target, 5)
    except TaskCancelledError:
        raise
    except Exception as error:
        name = getattr(target, "__qualname__", repr(target))
        raise TypeError(f"{name} cannot be sent to a worker, as it needs what cannot be pickled: {error}") from error


def loads_code(data: bytes) -> Any:
    """The function or class again. Its module need not exist here."""
    return pickle.loads(data)


def loads(data: bytes | memoryview, buffers: Iterable[Any] | None = None) -> Any:
    """A value again. What would end this program had its own code raised it becomes an error like any other."""
    try:
        return pickle.loads(data) if buffers is None else pickle.loads(data, buffers=buffers)
    except Exception:
        raise
    except BaseException as error:
        # In the main thread it cannot be told from Ctrl-C, which goes nowhere else.
        if isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread():
            raise
        raise pickle.UnpicklingError(f"The value cannot be loaded here: its code raised {shown(error)}.") from error


_shoal.set_hook("cloud_dumps", dumps)
_shoal.set_hook("plain_dumps", pickle.dumps)
_shoal.set_hook("loads", loads)
