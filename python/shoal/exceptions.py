"""What can go wrong, under Ray's names.

`ShoalError` is the root (`RayError` is the same class). An error that a task raised arrives as a `TaskError` which is
also an instance of the class that the task raised, so that both `except TaskError` and `except ValueError` catch it:

    try:
        shoal.get(parse.remote("x"))
    except ValueError as error:
        print(error)         # with the traceback of the worker
        error.cause          # the exception as it was raised there
"""

from __future__ import annotations

import types
from typing import Any


class ShoalError(Exception):
    """Root of all errors of the runtime."""


RayError = ShoalError


class TaskError(ShoalError):
    """A task raised; `cause` is the exception, `traceback_str` its traceback in the worker.

    What `get` raises is also an instance of the cause's class wherever that class can be subclassed.
    """

    def __init__(
        self,
        function_name: str = "",
        traceback_str: str = "",
        cause: BaseException | None = None,
        cause_text: str = "",
    ) -> None:
        self.function_name = function_name
        self.traceback_str = traceback_str
        self.cause = cause
        self.cause_text = cause_text or (repr(cause) if cause is not None else "")
        self.args = (function_name, traceback_str, cause, self.cause_text)

    def __str__(self) -> str:
        where = f"{self.function_name}() failed" if self.function_name else "the task failed"
        return f"{where}: {self.cause_text}\n\n{self.traceback_str}".rstrip()

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild_task_error, (self.function_name, self.traceback_str, self.cause, self.cause_text))

    def as_instanceof_cause(self) -> TaskError:
        """This error as an instance of its cause's class too, or itself where that class forbids it."""
        cause = self.cause
        # SystemExit and KeyboardInterrupt stay inside: raised by get they would end the caller.
        if not isinstance(cause, Exception) or isinstance(cause, TaskError):
            return self
        cause_class: Any = type(cause)
        combined: Any = _combined_classes.get(cause_class)
        if combined is None:
            try:
                combined = type(
                    f"TaskError({cause_class.__name__})",
                    (TaskError, cause_class),
                    {"__module__": __name__, "__init__": _init_combined, "__getattr__": _attribute_of_cause},
                )
            except TypeError:  # two layouts that do not fit together, or a class that refuses subclasses
                return self
            _combined_classes[cause_class] = combined
        try:
            error: TaskError = combined.__new__(combined)
        except Exception:  # a __new__ that wants arguments of its own
            return self
        TaskError.__init__(error, self.function_name, self.traceback_str, cause, self.cause_text)
        _copy_slots(cause, error)
        return error


_combined_classes: dict[type, Any] = {}


def _copy_slots(cause: Exception, error: Exception) -> None:
    # Attributes that live in the object itself, such as OSError.errno, exist in the error too, empty.
    for cls in type(cause).__mro__:
        if cls in (Exception, BaseException, object):
            continue
        for name, member in vars(cls).items():
            if isinstance(member, (types.MemberDescriptorType, types.GetSetDescriptorType)) and name[:2] != "__":
                try:
                    setattr(error, name, getattr(cause, name))
                except (AttributeError, TypeError):  # unset, or read-only
                    continue


def _init_combined(self: Any, *args: Any) -> None:
    TaskError.__init__(self, *args)


def _attribute_of_cause(self: Any, name: str) -> Any:
    # Called only for what the error itself lacks: `error.errno`, `error.response` and the like.
    if name.startswith("__") or "cause" not in self.__dict__:
        raise AttributeError(name)
    return getattr(self.__dict__["cause"], name)


def _rebuild_task_error(
    function_name: str, traceback_str: str, cause: BaseException | None, cause_text: str
) -> TaskError:
    return TaskError(function_name, traceback_str, cause, cause_text).as_instanceof_cause()


RayTaskError = TaskError


class TaskCancelledError(ShoalError):
    """The task was cancelled before it finished."""


class WorkerCrashedError(ShoalError):
    """The worker process died while it ran the task, and no retries were left."""


class LocalRayletDiedError(ShoalError):
    """The connection to this machine's raylet is gone."""


class NodeDiedError(ShoalError):
    """The machine that ran the task left the cluster, and no retries were left."""


class ActorError(ShoalError):
    """A call failed for a reason that lies with the actor."""


RayActorError = ActorError


class ActorDiedError(ActorError):
    """The actor is dead and will not come back; the message says why."""


class ActorUnavailableError(ActorError):
    """The actor is restarting or out of reach. The call may or may not have run; a later one may succeed."""


class ActorUnschedulableError(ShoalError):
    """No machine can ever hold the actor as it was asked for."""


class TaskUnschedulableError(ShoalError):
    """No machine can ever run the task as it was asked for."""


class TaskPlacementGroupRemoved(ShoalError):
    """The placement group of the task has been removed."""


class ActorPlacementGroupRemoved(ShoalError):
    """The placement group of the actor has been removed."""


class PendingCallsLimitExceeded(ShoalError):
    """More calls wait for the actor than its max_pending_calls allows."""


class ObjectStoreFullError(ShoalError):
    """The object store cannot hold the value; free references or start with a larger object_store_memory."""


class OutOfMemoryError(ShoalError):
    """The task was stopped because its machine ran out of memory."""


class OutOfDiskError(ShoalError):
    """The object store has no disk left to spill to."""


class ObjectLostError(ShoalError):
    """All copies of the value are gone and it could not be computed again."""


class ObjectFetchTimedOutError(ObjectLostError):
    """The value exists elsewhere but could not be fetched in time."""


class ReferenceCountingAssertionError(ObjectLostError, AssertionError):
    """The value was freed although a reference to it existed."""


class OwnerDiedError(ObjectLostError):
    """The process that owned the reference is dead, and the value with it."""


class ObjectReconstructionFailedError(ObjectLostError):
    """The value was lost and computing it again failed."""


class ObjectReconstructionFailedMaxAttemptsExceededError(ObjectReconstructionFailedError):
    """The value was lost more often than the task's retries allow."""


class ObjectReconstructionFailedLineageEvictedError(ObjectReconstructionFailedError):
    """The value was lost and how it was made has been forgotten."""


class GetTimeoutError(ShoalError, TimeoutError):
    """The values were not there in time."""


class RuntimeEnvSetupError(ShoalError):
    """The runtime_env of the task or actor could not be set up."""


class SystemError(ShoalError):
    """The runtime itself failed."""


RaySystemError = SystemError


class PlasmaObjectNotAvailable(ShoalError):
    """The value is not in the object store."""


class UnserializableException(ShoalError):
    """An exception could not be carried between processes; its text follows."""


class CrossLanguageError(ShoalError):
    """A task of another language failed; its text follows."""


class AuthenticationError(ShoalError):
    """This process may not join the cluster."""


class NameTakenError(ShoalError, ValueError):
    """An actor or placement group of that name exists in this namespace."""


class AsyncioActorExit(ShoalError):
    """Raised inside an actor by exit_actor(); not for catching."""
