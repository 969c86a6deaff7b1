"""From the runtime's error kinds (schema/task_messages.h, ErrorKind) to Python exceptions and back."""

from __future__ import annotations

import enum
import pickle
import traceback
import types
from typing import Any

from shoal import _shoal
from shoal import exceptions as ex
from shoal._internal import checks, limits, serialization


class ErrorKind(enum.IntEnum):
    """ErrorKind of schema/task_messages.h, in its order; `_shoal.error_kind_count()` is compared with it in tests."""

    NONE = 0
    APPLICATION = 1
    WORKER_CRASHED = 2
    NODE_DIED = 3
    ACTOR_DIED = 4
    ACTOR_UNAVAILABLE = 5
    TASK_CANCELLED = 6
    OBJECT_LOST = 7
    OWNER_DIED = 8
    OBJECT_STORE_FULL = 9
    OUT_OF_MEMORY = 10
    PLACEMENT_GROUP_REMOVED = 11
    UNSCHEDULABLE = 12
    RUNTIME_ENV_SETUP = 13
    PENDING_CALLS_LIMIT = 14
    NAME_TAKEN = 15
    NOT_FOUND = 16
    INVALID_ARGUMENT = 17
    SYSTEM = 18


_CLASSES: dict[int, type[Exception]] = {
    ErrorKind.WORKER_CRASHED: ex.WorkerCrashedError,
    ErrorKind.NODE_DIED: ex.NodeDiedError,
    ErrorKind.ACTOR_DIED: ex.ActorDiedError,
    ErrorKind.ACTOR_UNAVAILABLE: ex.ActorUnavailableError,
    ErrorKind.TASK_CANCELLED: ex.TaskCancelledError,
    ErrorKind.OBJECT_LOST: ex.ObjectLostError,
    ErrorKind.OWNER_DIED: ex.OwnerDiedError,
    ErrorKind.OBJECT_STORE_FULL: ex.ObjectStoreFullError,
    ErrorKind.OUT_OF_MEMORY: ex.OutOfMemoryError,
    ErrorKind.PLACEMENT_GROUP_REMOVED: ex.TaskPlacementGroupRemoved,
    ErrorKind.UNSCHEDULABLE: ex.TaskUnschedulableError,
    ErrorKind.RUNTIME_ENV_SETUP: ex.RuntimeEnvSetupError,
    ErrorKind.PENDING_CALLS_LIMIT: ex.PendingCallsLimitExceeded,
    ErrorKind.NAME_TAKEN: ex.NameTakenError,
    ErrorKind.NOT_FOUND: ValueError,
    ErrorKind.SYSTEM: ex.SystemError,
}
# What a worker puts in the place of a result when one of these was raised there.
_KINDS: dict[type[BaseException], ErrorKind] = {
    ex.TaskCancelledError: ErrorKind.TASK_CANCELLED,
    ex.ObjectStoreFullError: ErrorKind.OBJECT_STORE_FULL,
    ex.RuntimeEnvSetupError: ErrorKind.RUNTIME_ENV_SETUP,
}

# absl::StatusCode
_CANCELLED, _DEADLINE_EXCEEDED, _NOT_FOUND = 1, 4, 5
_RESOURCE_EXHAUSTED, _UNAVAILABLE, _INVALID_ARGUMENT, _ALREADY_EXISTS = 8, 14, 3, 6


def from_info(kind: int, message: str, detail: bytes) -> BaseException:
    """The exception that stands for an error value."""
    if kind == ErrorKind.APPLICATION:
        try:
            error = serialization.loads(detail) if detail else None
            if isinstance(error, ex.TaskError):
                return error.as_instanceof_cause()
        except Exception as failure:  # a class that this process lacks, a constructor that refuses its own args
            message = f"{message}\n(the exception itself could not be loaded here: {checks.shown(failure)})"
        name, _, text = message.partition(": ")
        return ex.TaskError(name.removesuffix("() failed"), "", None, text or message)
    if kind == ErrorKind.INVALID_ARGUMENT:  # what the core refuses of a task that has been sent, such as its results
        return ex.TaskError("", "", ValueError(message), message).as_instanceof_cause()
    return _CLASSES.get(kind, ex.SystemError)(message)


def from_status(code: int, message: str) -> BaseException:
    """The exception for an operation that failed in this process."""
    if code == _DEADLINE_EXCEEDED:
        return ex.GetTimeoutError(message)
    if code == _RESOURCE_EXHAUSTED:
        return ex.ObjectStoreFullError(message)
    if code == _UNAVAILABLE:
        return ex.LocalRayletDiedError(message)
    if code == _CANCELLED:
        return ex.TaskCancelledError(message)
    if code in (_INVALID_ARGUMENT, _NOT_FOUND):
        return ValueError(message)
    if code == _ALREADY_EXISTS:
        return ex.NameTakenError(message)
    return ex.SystemError(message)


_shoal.set_hook("error_from_info", from_info)
_shoal.set_hook("error_from_status", from_status)


def describe(error: BaseException, function_name: str) -> tuple[int, str, bytes]:
    """(kind, message, detail) of an exception that a task raised. Never raises itself."""
    for known, kind in _KINDS.items():
        if type(error) is known:
            return kind, presentable(str(error)), b""
    if issubclass(type(error), ex.TaskError):  # isinstance would ask the error for its __class__
        # An error that came through: the task waited for another one that failed. Keep the first cause.
        through: Any = error
        cause, text = through.cause, through.cause_text
        trace = f"{through.traceback_str}\nwhich came through:\n{_format(error)}"
    else:
        cause, text, trace = error, _short(error), _format(error)
    text, trace = presentable(text), presentable(trace)
    message = f"{function_name}() failed: {text}"
    detail = _pickle_error(function_name, trace, cause, text)
    return ErrorKind.APPLICATION, message, detail


def _pickle_error(function_name: str, trace: str, cause: BaseException | None, text: str) -> bytes:
    """The error as bytes that certainly load again: the cause stays out if it does not survive the trip."""
    import cloudpickle

    if cause is not None:
        try:
            clean = cause.with_traceback(None)
            data: bytes = cloudpickle.dumps(ex.TaskError(function_name, trace, clean, text), protocol=5)
            if len(data) <= limits.ERROR_CAUSE:
                pickle.loads(data)
                return data
            sizes = f"{len(data) >> 10} KiB pickled and was left out: {limits.ERROR_CAUSE >> 10} KiB at most"
            text += f"\n(the exception itself takes {sizes})"
        except BaseException:
            pass  # its __reduce__ raises, its args do not fit its constructor, it holds a lock: the text must do
    return pickle.dumps(ex.TaskError(function_name, trace, None, text), protocol=5)


def presentable(text: str) -> str:
    """Without what UTF-8 cannot carry, and without its middle if it is long."""
    text = text.encode("utf-8", "backslashreplace").decode()
    if len(text) <= limits.ERROR_TEXT:
        return text
    half = limits.ERROR_TEXT // 2
    return f"{text[:half]}\n... {len(text) - limits.ERROR_TEXT} characters are left out here ...\n{text[-half:]}"


def _short(error: BaseException) -> str:
    try:
        return "".join(traceback.format_exception_only(type(error), error)).strip()
    except BaseException:
        name = type(error).__name__
    try:
        return f"{name}: {error}"
    except BaseException:
        return f"{name} (its text could not be made)"


def _format(error: BaseException) -> str:
    frames = _without_internals(object.__getattribute__(error, "__traceback__"))
    try:
        return "".join(traceback.format_exception(type(error), error, frames))
    except BaseException:
        return "".join(["Traceback (most recent call last):\n", *traceback.format_tb(frames), _short(error)])


def _without_internals(frames: types.TracebackType | None) -> types.TracebackType | None:
    """Drops the worker's own frames at the top."""
    while frames is not None and "shoal/_internal/" in frames.tb_frame.f_code.co_filename and frames.tb_next:
        frames = frames.tb_next
    return frames
