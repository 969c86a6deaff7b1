"""This process's session: joining or starting a runtime, and leaving it.

State lives here once per process; `_shoal` holds the connection itself.
"""

from __future__ import annotations

import atexit
import json
import os
import sys
import threading
from typing import TYPE_CHECKING, Any

import cloudpickle

from shoal import _shoal
from shoal._internal import errors, logs

if TYPE_CHECKING:
    from shoal._internal import launch

# Environment variables by which a worker learns where the driver's modules are.
SYS_PATH, CWD = "SHOAL_SYS_PATH", "SHOAL_CWD"
# And whom to blame if what the driver pickled does not load there.
VERSIONS = "SHOAL_DRIVER_VERSIONS"
# Large modules that the driver has imported, so its workers are likely to need them: imported before the fork.
PREIMPORT = "SHOAL_PREIMPORT"
PREIMPORTED = ("asyncio", "numpy")

_lock = threading.RLock()
_runtime: launch.LocalRuntime | None = None
_env: dict[str, str] = {}
_runtime_env: dict[str, Any] = {}
_in_worker = False


class Context(dict[str, Any]):
    """What init() returns: facts about the session, and a context manager that ends it."""

    @property
    def address_info(self) -> dict[str, Any]:
        """The facts as a dict."""
        return dict(self)

    @property
    def dashboard_url(self) -> str:
        """Always empty: there is no dashboard."""
        return ""

    def disconnect(self) -> None:
        """As shutdown()."""
        shutdown()

    def __enter__(self) -> Context:
        return self

    def __exit__(self, *_: object) -> None:
        shutdown()


def is_initialized() -> bool:
    """True between init() and shutdown(), and always in a worker."""
    return _shoal.connected()


def ensure_init() -> None:
    """Starts or joins a runtime with default options unless there is one."""
    if not _shoal.connected():
        with _lock:
            if not _shoal.connected():
                init({})


_shoal.set_hook("ensure_init", ensure_init)


def inherited_env() -> dict[str, str]:
    """Environment variables that every task and actor made here gets: the job's, or those of the task that runs."""
    return _env


def runtime_env() -> dict[str, Any]:
    """The runtime_env that tasks made here start from."""
    return _runtime_env


def init(options: dict[str, Any]) -> Context:
    """Joins what `address` names or starts a runtime; the options of shoal.init()."""
    global _runtime
    with _lock:
        if _shoal.connected():
            if options.get("ignore_reinit_error"):
                return context()
            raise RuntimeError("init() was called twice: call shutdown() first, or pass ignore_reinit_error=True.")
        address = _address(options)
        _set_job_env(options.get("runtime_env"))
        runtime = _start_runtime(options) if address is None else None
        try:
            _shoal.connect(
                socket=runtime.raylet_socket if runtime is not None else address or "",
                is_worker=False,
                worker="",
                job="",
                namespace=options.get("namespace") or "",
                entrypoint=errors.presentable(" ".join(map(str, getattr(sys, "argv", None) or ()))),
                env_vars=_env,
            )
        except BaseException:
            if runtime is not None:
                runtime.stop()
            raise
        _runtime = runtime
        if options.get("log_to_driver", True):
            _shoal.on_log_lines(logs.print_lines)
        return context()


def _start_runtime(options: dict[str, Any]) -> launch.LocalRuntime:
    from shoal._internal import launch

    return launch.LocalRuntime(options)


def _address(options: dict[str, Any]) -> str | None:
    """A raylet's socket, or None for a runtime of our own."""
    address = options.get("address")
    from_environment = os.environ.get("SHOAL_ADDRESS") or None
    given = [name for name in _START_OPTIONS if options.get(name) is not None]
    if address is None:
        address = from_environment
    if address is None and not given:
        from shoal._internal import launch

        address = launch.running_here()
    if address in (None, "local"):
        return None
    if not isinstance(address, str) or not address:
        raise ValueError(f'address must be a runtime directory, a socket, "auto" or "local", not {address!r}.')
    if given:
        raise ValueError(
            f"{given[0]} is for a runtime that init() starts: leave it out when you give an address, or say "
            'address="local" when $SHOAL_ADDRESS gives one.'
        )
    from shoal._internal import launch

    if address == "auto":
        address = from_environment if from_environment not in (None, "auto") else launch.default_runtime_directory()
        if not os.path.exists(address):
            raise ConnectionError(f"No runtime was found at {address}: start one with `shoal start`, or call init().")
    return launch.resolve_address(address)


_START_OPTIONS = ("num_cpus", "num_gpus", "resources", "labels", "object_store_memory")


def _set_job_env(runtime_env: dict[str, Any] | None) -> None:
    global _env, _runtime_env
    _runtime_env = dict(runtime_env or {})
    here = _directory()
    # What is not a str is nothing to Python's import either.
    paths = [path for path in sys.path if isinstance(path, str) and (here or os.path.isabs(path))]
    paths = [os.path.normpath(os.path.join(here, path)) for path in paths]
    # As JSON, because names of directories need not be UTF-8.
    _env = {SYS_PATH: json.dumps(paths), CWD: json.dumps(here), VERSIONS: versions()}
    _env[PREIMPORT] = ",".join(name for name in PREIMPORTED if name in sys.modules)
    _env.update(_runtime_env.get("env_vars") or {})


def _directory() -> str:
    """The current one, or "" if it has been deleted."""
    try:
        return os.getcwd()
    except OSError:
        return ""


def versions() -> str:
    """Of what must be alike in a driver and its workers."""
    return f"Python {sys.version.split()[0]} with cloudpickle {cloudpickle.__version__}"


def context() -> Context:
    """Facts about the current session."""
    facts: dict[str, Any] = dict(_shoal.identity())
    if _runtime is not None:
        facts.update(_runtime.info)
    return Context(facts)


def shutdown() -> None:
    """Ends the session; a runtime that init() started ends with it. Does nothing without a session."""
    global _runtime
    if _in_worker:
        return
    with _lock:
        runtime, _runtime = _runtime, None
        if _shoal.connected():
            if runtime is not None and runtime.is_cut_off():
                _shoal.forget_connection()  # its threads would be waited for in vain
            else:
                _shoal.disconnect()
            if "shoal._internal.asynchronous" in sys.modules:
                _asynchronous().fail_pending()
        if runtime is not None:
            runtime.stop()


atexit.register(shutdown)


def _asynchronous() -> Any:
    from shoal._internal import asynchronous  # imports asyncio, so only when something is awaited

    return asynchronous


for _name in ("await_ref", "ref_future", "as_future"):  # until the module replaces them by its own
    _shoal.set_hook(_name, lambda ref, name=_name: getattr(_asynchronous(), name)(ref))


def join_as_worker(socket: str, worker: str, job: str, env: dict[str, str]) -> None:
    """In a worker process: connects to the raylet that started it."""
    global _env, _runtime_env, _in_worker
    _in_worker = True
    _env = dict(env)
    own = {name: value for name, value in env.items() if name not in (SYS_PATH, CWD, VERSIONS, PREIMPORT)}
    _runtime_env = {"env_vars": own} if own else {}
    _shoal.connect(socket=socket, is_worker=True, worker=worker, job=job, namespace="", entrypoint="", env_vars={})


def _after_fork_in_child() -> None:
    """The session belongs to the parent; a forked child may start one of its own."""
    global _runtime, _lock
    _lock = threading.RLock()
    _shoal.forget_connection()
    if _runtime is not None:
        _runtime.abandon()
        _runtime = None


os.register_at_fork(after_in_child=_after_fork_in_child)
