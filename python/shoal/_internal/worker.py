"""A worker's side in Python: everything less common than a plain task, which runs in python/bindings/worker.cc.

`_shoal.run_worker(Handler())` calls the methods of Handler from the main thread, and `describe`, `builtin_method`,
`no_actor` and `start_thread` also from the other threads of an actor. A task arrives as a `_shoal.Task`: call `run`, or
`call` and then `finish` or `fail`, from any thread.
"""

from __future__ import annotations

import _thread
import atexit
import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

from shoal import _shoal, actor, exceptions
from shoal._internal import cluster, errors, executors, logs, serialization
from shoal.util.placement_group import PlacementGroup, enter_placement_group

_CANCEL_SIGNAL = signal.SIGRTMIN + 5


class Handler:
    """What the C++ loop asks of Python."""

    def __init__(self) -> None:
        self._options: dict[bytes, dict[str, Any]] = {}
        self._calls: dict[int, int] = {}
        self._actor: executors.Executor | None = None
        self._assigned: dict[str, str | None] = {}

    # ---- tasks

    def load(self, code: bytes, name: str) -> Callable[..., Any]:
        """A function or class from its bytes."""
        if not code:
            raise exceptions.SystemError(f"{name} came to this worker without its code.")
        try:
            loaded: Callable[..., Any] = serialization.loads_code(code)
        except exceptions.TaskCancelledError:
            raise
        except Exception as error:
            text = f"{name} cannot be loaded in the worker: {type(error).__name__}: {error}"
            driver, here = os.environ.get(cluster.VERSIONS, ""), cluster.versions()
            if driver not in ("", here):
                text += (
                    f" (the driver runs {driver}, this worker {here}: start the raylet with --python and the path of "
                    "the driver's Python, or set SHOAL_PYTHON)"
                )
            raise RuntimeError(text) from error
        return loaded

    def run_task(self, task: _shoal.Task, function: Callable[..., Any]) -> None:
        """A task with options of its own."""
        options = self._unpack(task.options)
        exiting = False
        if options.get("max_calls"):
            count = self._calls[task.function_id] = self._calls.get(task.function_id, 0) + 1
            exiting = count >= options["max_calls"]
        with _group_of(options):
            task.run(function, exiting)

    def describe(self, error: BaseException, name: str, options: bytes) -> tuple[int, str, bytes, bool, bool]:
        """(ErrorKind, message, detail, final, worker exits) of what a task raised."""
        raised = type(error)  # isinstance would ask the error for its __class__
        if issubclass(raised, ConstructorFailed):
            return int(errors.ErrorKind.ACTOR_DIED), str(error), b"", True, False
        if issubclass(raised, exceptions.AsyncioActorExit):
            message = "The actor is dead because it called exit_actor()."
            return int(errors.ErrorKind.ACTOR_DIED), message, b"", True, True
        kind, message, detail = errors.describe(error, name)
        classes = self._unpack(options).get("retry_exceptions") if options else None
        final = classes is not None and not issubclass(raised, serialization.loads_code(classes))
        return kind, message, detail, final, False

    def _unpack(self, options: bytes) -> dict[str, Any]:
        if not options:
            return {}
        found = self._options.get(options)
        if found is None:
            found = self._options[options] = pickle.loads(options)
        return found

    def assigned(self, env_vars: dict[str, str]) -> None:
        """Before the next task: the environment that goes with its resources, such as CUDA_VISIBLE_DEVICES."""
        for name, value in self._assigned.items():
            _set_env(name, value)
        self._assigned = {name: os.environ.get(name) for name in env_vars}
        for name, value in env_vars.items():
            _set_env(name, value)

    # ---- actors

    def create(self, task: _shoal.Task) -> Any:
        """Makes the actor's instance. Returns it if the C++ loop runs its calls, NotImplemented if `serve` fetches
        them, None if there is no instance.
        """
        try:
            options = self._unpack(task.options)
            group, bundles, capture = options.get("placement_group") or (None, [], False)
            if group is not None:
                enter_placement_group(PlacementGroup(group, bundles), capture, for_actor=True)
            cls = self.load(task.code, task.name.rsplit(".", 1)[0])
            executor = executors.make(options)
            ActorState.enter(task)
            instance = executor.create(task, cls)
            _shoal.set_concurrency(options["max_concurrency"], options["concurrency_groups"], executor.threads)
        except BaseException as error:
            task.fail(ConstructorFailed.of(error, task.name), True)
            return None
        task.finish(None, False)
        if executor.threads > 0:
            return instance
        self._actor = executor
        return NotImplemented

    def serve(self) -> None:
        """Runs an actor's calls until the process is to exit."""
        assert self._actor is not None
        self._actor.serve()

    def start_thread(self) -> None:
        """One more thread for the actor's calls. Returns at once: Thread.start() would give up the GIL."""
        _thread.start_new_thread(_serve_calls, ())

    def no_actor(self) -> None:
        """What a call gets that came although the constructor failed."""
        raise exceptions.ActorDiedError("The actor's constructor failed.")

    def builtin_method(self, instance: Any, name: str) -> Callable[..., Any]:
        """A method that every actor has, or AttributeError."""
        return builtin_method(instance, name)


def _serve_calls() -> None:
    threading.current_thread().name = "shoal-actor"
    _shoal.serve_calls()


class ConstructorFailed(exceptions.ActorDiedError):
    """What callers of an actor get whose constructor raised."""

    @classmethod
    def of(cls, error: BaseException, name: str) -> ConstructorFailed:
        """With the text and the traceback of what was raised."""
        kind, message, detail = errors.describe(error, name)
        text = str(errors.from_info(kind, message, detail))
        return cls(f"The actor died because its constructor raised an error: {text}")


class ActorState:
    """What the runtime context tells about the actor in this process."""

    name = ""
    handle: bytes = b""
    actor_id = ""
    incarnation = 0
    max_task_retries = 0
    max_pending_calls = -1

    @classmethod
    def enter(cls, task: _shoal.Task) -> None:
        """Remembers the actor that `task` creates."""
        cls.actor_id = task.actor_id
        cls.incarnation = task.incarnation
        if task.actor is not None:
            cls.name, _, cls.handle, cls.max_task_retries, cls.max_pending_calls = task.actor


def builtin_method(instance: Any, name: str) -> Callable[..., Any]:
    """__ray_ready__, __ray_call__ and __ray_terminate__, under Ray's names."""
    if name == "__ray_ready__":
        return lambda: True
    if name == "__ray_call__":
        return lambda function, *args, **kwargs: function(instance, *args, **kwargs)
    if name == "__ray_terminate__":
        return actor.exit_actor
    raise AttributeError(f"{type(instance).__name__} has no method {name!r}.")


class _group_of:
    """Sets the current placement group while a task runs."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._found = options.get("placement_group")

    def __enter__(self) -> None:
        if self._found is not None:
            group, bundles, capture = self._found
            enter_placement_group(PlacementGroup(group, bundles), capture)

    def __exit__(self, *_: object) -> None:
        if self._found is not None:
            enter_placement_group(None, False)


def _set_env(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value


def _on_cancel_signal(number: int, frame: Any) -> None:
    if _shoal.cancel_requested():
        raise exceptions.TaskCancelledError("The task was cancelled.")


def _watch_interrupts(handler: Handler) -> None:
    while True:
        task_id = _shoal.next_interrupt()
        executor = handler._actor
        if executor is not None:
            executor.cancel(task_id)


def _use_paths(env: dict[str, str]) -> None:
    import json

    driver = json.loads(env.get(cluster.SYS_PATH) or "[]")
    extra = [path for path in env.get("PYTHONPATH", "").split(os.pathsep) if path]
    ours = [path for path in sys.path if path not in driver]
    sys.path[:] = [*(path for path in extra if path not in driver), *driver, *ours]
    directory = json.loads(env.get(cluster.CWD) or '""')
    if directory and os.path.isdir(directory):
        os.chdir(directory)


def main(worker: str, job: str, socket: str, env: dict[str, str]) -> None:
    """The whole life of a worker process. Does not return."""
    status = 1
    try:
        os.environ.update(env)
        _use_paths(env)
        sys.stdout, sys.stderr = logs.NamedLines(sys.stdout), logs.NamedLines(sys.stderr)
        cluster.join_as_worker(socket, worker, job, env)
        handler = Handler()
        signal.signal(_CANCEL_SIGNAL, _on_cancel_signal)
        _shoal.set_cancel_signal(_CANCEL_SIGNAL, exceptions.TaskCancelledError)
        threading.Thread(target=_watch_interrupts, args=(handler,), name="shoal-cancel", daemon=True).start()
        _shoal.run_worker(handler)
        status = 0
        atexit._run_exitfuncs()
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except Exception:
                pass
        os._exit(status)
