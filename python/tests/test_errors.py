"""Exceptions keep class, attributes and traceback on their way; those that cannot travel arrive as text."""

import inspect
import pathlib
import pickle
import re

import pytest

import shoal
from shoal import _shoal, exceptions
from shoal._internal import errors


class Custom(Exception):
    def __init__(self, code, text):
        super().__init__(code, text)
        self.code = code


class NeedsOther(Exception):
    def __init__(self, a, b):
        super().__init__(f"{a} and {b}")


class RefusesPickling(Exception):
    def __reduce__(self):
        raise RuntimeError("no")


class Leaving(Exception):
    leaves = False

    def __init__(self, text):
        super().__init__(text)
        if self.leaves:
            raise SystemExit(1)


class Hostile(Exception):
    def __getattribute__(self, name):
        raise RuntimeError(f"no {name}")


class Mute(Hostile):
    def __str__(self):
        raise SystemExit(1)


def through(error):
    """As a task's error travels."""
    try:
        raise error
    except BaseException as raised:
        kind, message, detail = errors.describe(raised, "work")
    return errors.from_info(kind, message, detail)


def test_the_kinds_are_those_of_the_core():
    assert len(errors.ErrorKind) == _shoal.error_kind_count()
    header = pathlib.Path(__file__).parents[2] / "schema" / "task_messages.h"
    body = re.search(r"enum class ErrorKind : uint8_t \{(.*?)\};", header.read_text(), re.S).group(1)
    names = re.findall(r"^\s*k(\w+),", body, re.M)
    in_python = [kind.name for kind in errors.ErrorKind]
    assert [re.sub(r"(?<!^)([A-Z])", r"_\1", name).upper() for name in names] == in_python


def test_an_error_is_also_of_its_causes_class():
    error = through(ValueError("bad"))
    assert isinstance(error, exceptions.TaskError)
    assert isinstance(error, ValueError)
    assert isinstance(error.cause, ValueError)
    assert "work() failed: ValueError: bad" in str(error)
    assert "Traceback" in str(error)
    assert "test_errors.py" in str(error)


def test_attributes_of_the_cause_are_there():
    error = through(Custom(7, "text"))
    assert isinstance(error, Custom)
    assert error.code == 7
    assert through(OSError(2, "gone", "f")).errno == 2
    with pytest.raises(AttributeError):
        through(ValueError()).nothing  # noqa: B018


@pytest.mark.parametrize("error", [NeedsOther(1, 2), RefusesPickling("x")], ids=lambda e: type(e).__name__)
def test_an_exception_that_cannot_travel_arrives_as_text(error):
    arrived = through(error)
    assert type(arrived) is exceptions.TaskError
    assert type(error).__name__ in str(arrived)
    assert "Traceback" in str(arrived)


@pytest.mark.parametrize(("cls", "text"), [(Hostile, "Hostile: why"), (Mute, "Mute (its text could not be made)")])
def test_an_exception_that_refuses_to_be_looked_at_arrives_as_text(cls, text):
    arrived = through(cls("why"))
    assert type(arrived) is exceptions.TaskError
    assert text in str(arrived)
    assert "raise error" in str(arrived)


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()], ids=lambda e: type(e).__name__)
def test_what_would_end_the_caller_stays_inside(error):
    arrived = through(error)
    assert type(arrived) is exceptions.TaskError
    assert type(arrived.cause) is type(error)


def test_an_error_that_came_through_another_task_keeps_its_cause():
    inner = through(ValueError("root"))
    outer = through(inner)
    assert isinstance(outer, ValueError)
    assert "root" in str(outer)
    assert "which came through" in str(outer)


def test_a_task_error_pickles():
    error = pickle.loads(pickle.dumps(through(KeyError("k"))))
    assert isinstance(error, KeyError)
    assert isinstance(error, exceptions.TaskError)


def test_an_exception_with_a_chain_shows_the_chain():
    try:
        try:
            raise KeyError("first")
        except KeyError as first:
            raise ValueError("second") from first
    except ValueError as raised:
        described = errors.describe(raised, "work")
    assert "first" in str(errors.from_info(*described))


def test_details_that_do_not_load_leave_the_message():
    error = errors.from_info(errors.ErrorKind.APPLICATION, "work() failed: Odd: text", b"garbage")
    assert type(error) is exceptions.TaskError
    assert "Odd: text" in str(error)


def test_an_error_cannot_end_the_program_that_loads_it(monkeypatch):
    described = errors.describe(Leaving("why"), "work")
    monkeypatch.setattr(Leaving, "leaves", True)
    error = errors.from_info(*described)
    assert type(error) is exceptions.TaskError
    assert "Leaving: why" in str(error)
    assert "could not be loaded here: UnpicklingError" in str(error)


def test_an_error_of_any_size_and_alphabet_arrives():
    described = errors.describe(ValueError("long " * 10_000_000), "work")
    error = errors.from_info(*described)
    assert isinstance(error, exceptions.TaskError)
    assert sum(map(len, described[1:])) < 1 << 20
    assert "ValueError: long long" in str(error)
    assert "characters are left out here" in str(error)
    surrogate = errors.from_info(*errors.describe(ValueError("half \udc80 a character"), "work"))
    assert isinstance(surrogate, ValueError)
    assert "half \\udc80 a character" in str(surrogate)


def test_an_error_without_its_details_keeps_its_text():
    error = errors.from_info(errors.ErrorKind.APPLICATION, "work() failed: Odd: text", b"")
    assert type(error) is exceptions.TaskError
    assert "Odd: text" in str(error)
    assert "could not be loaded" not in str(error)


def test_every_kind_has_an_exception():
    for kind in errors.ErrorKind:
        if kind not in (errors.ErrorKind.NONE, errors.ErrorKind.APPLICATION):
            assert "why" in str(errors.from_info(kind, "why", b""))
    assert isinstance(errors.from_info(99, "why", b""), exceptions.SystemError)


def test_what_the_core_refuses_of_a_task_is_a_task_error():
    error = errors.from_info(errors.ErrorKind.INVALID_ARGUMENT, "too many", b"")
    assert isinstance(error, exceptions.TaskError)
    assert isinstance(error, ValueError)
    assert isinstance(error.cause, ValueError)
    assert str(error) == "the task failed: too many"


def test_rays_names_are_there():
    for name in (
        "RayError RayTaskError RayActorError ActorDiedError ActorUnavailableError TaskCancelledError "
        "TaskUnschedulableError ActorUnschedulableError AsyncioActorExit LocalRayletDiedError WorkerCrashedError "
        "NodeDiedError TaskPlacementGroupRemoved ActorPlacementGroupRemoved ObjectStoreFullError OutOfDiskError "
        "OutOfMemoryError ObjectLostError ObjectFetchTimedOutError OwnerDiedError ReferenceCountingAssertionError "
        "ObjectReconstructionFailedError GetTimeoutError PendingCallsLimitExceeded PlasmaObjectNotAvailable "
        "RuntimeEnvSetupError CrossLanguageError RaySystemError UnserializableException AuthenticationError"
    ).split():
        assert inspect.isclass(getattr(shoal.exceptions, name)), name
    assert issubclass(exceptions.ActorDiedError, exceptions.RayActorError)
    assert issubclass(exceptions.GetTimeoutError, TimeoutError)
    assert issubclass(exceptions.OwnerDiedError, exceptions.ObjectLostError)
