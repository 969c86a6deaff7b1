"""The functions of `import shoal` that are more than a call into the core."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Mapping
from typing import Any

from shoal import _options, _shoal
from shoal._internal import checks, cluster
from shoal.actor import ActorClass, ActorHandle
from shoal.actor import kill as _kill
from shoal.remote_function import RemoteFunction, remote_function

# Accepted for the sake of programs that were written for Ray, and without effect here (docs/differences.md).
_IGNORED = (
    "dashboard_host",
    "dashboard_port",
    "logging_format",
    "logging_config",
    "enable_resource_isolation",
    "system_reserved_cpu",
    "system_reserved_memory",
)


def init(
    address: str | None = None,
    *,
    num_cpus: float | None = None,
    num_gpus: float | None = None,
    resources: Mapping[str, float] | None = None,
    labels: Mapping[str, str] | None = None,
    object_store_memory: int | None = None,
    local_mode: bool = False,
    ignore_reinit_error: bool = False,
    include_dashboard: bool | None = None,
    configure_logging: bool = True,
    logging_level: int | str = logging.INFO,
    log_to_driver: bool = True,
    namespace: str | None = None,
    runtime_env: Mapping[str, Any] | None = None,
    **others: Any,
) -> cluster.Context:
    """Joins a runtime, or starts one on this machine that ends with this process.

    `address` is a runtime directory, a raylet's socket, "auto" (the runtime of this machine), or "local" (start one
    whatever else there is). Without it, $SHOAL_ADDRESS decides; without that, a runtime that runs on this machine is
    joined, unless the other arguments describe one; else one is started.
    """
    for name in others:
        if name not in _IGNORED:
            raise TypeError(f"init() has no argument {name!r}.")
    if local_mode:
        raise ValueError("local_mode is not supported: call the plain function instead to debug it.")
    if include_dashboard:
        raise ValueError("include_dashboard=True is not supported: there is no dashboard; see `shoal status`.")
    options = {
        "address": address,
        "num_cpus": num_cpus,
        "num_gpus": num_gpus,
        "resources": resources,
        "labels": labels,
        "object_store_memory": object_store_memory,
        "ignore_reinit_error": ignore_reinit_error,
        "logging_level": logging_level,
        "log_to_driver": log_to_driver,
        "namespace": namespace,
        "runtime_env": runtime_env,
    }
    _options.check_init(options)
    if configure_logging:
        level = logging_level.upper() if isinstance(logging_level, str) else logging_level
        logging.getLogger("shoal").setLevel(level)
    return cluster.init(options)


def shutdown(_exiting_interpreter: bool = False) -> None:
    """Leaves the runtime, and ends it if init() started it. References and handles are of no use afterwards."""
    cluster.shutdown()


def is_initialized() -> bool:
    """True between init() and shutdown(), and always inside of tasks and actors."""
    return cluster.is_initialized()


def remote(*args: Any, **options: Any) -> Any:
    """Makes a function or class one that runs on the cluster: `@remote`, `@remote(num_cpus=2)` or `remote(f)`."""
    if len(args) == 1 and not options:
        return _make_remote(args[0], {})
    if args:
        raise TypeError("@remote takes either a function or class alone, or options by name: @remote(num_cpus=2).")
    if not options:
        raise TypeError("@remote() has no options: write @remote.")

    def decorate(target: Any) -> Any:
        return _make_remote(target, options)

    return decorate


def _make_remote(target: Any, options: dict[str, Any]) -> RemoteFunction | ActorClass:
    if isinstance(target, (RemoteFunction, ActorClass)):
        raise TypeError(f"{target!r} is remote already: use .options() to change its options.")
    if inspect.isclass(target):
        return ActorClass(target, _options.actor_options(options))
    if not callable(target):
        raise TypeError(f"@remote takes a function or a class, not {target!r}.")
    if inspect.iscoroutinefunction(target) or inspect.isasyncgenfunction(target):
        raise ValueError(f"{target.__name__} is async: only methods of actors may be. Wrap it in asyncio.run().")
    return remote_function(target, _options.task_options(options))


def cancel(ref: _shoal.ObjectRef[Any], *, force: bool = False, recursive: bool = True) -> None:
    """Stops the task that makes `ref`, before it runs or while it does; get() then raises TaskCancelledError.

    A running task gets the exception raised inside of it; `force` kills its worker instead. `recursive` stops the tasks
    that it has submitted as well.
    """
    checks.flag("force", force)
    checks.flag("recursive", recursive)
    _shoal.cancel(ref, force, recursive)


def kill(actor: ActorHandle, *, no_restart: bool = True) -> None:
    """Ends an actor at once. With no_restart=False it comes back if its max_restarts allow."""
    checks.flag("no_restart", no_restart)
    _kill(actor, no_restart=no_restart)
