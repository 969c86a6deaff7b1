"""Options of tasks, actors and methods: which there are, what they mean, and what is wrong with a bad one.

Everything is checked where the option is written, not when the first call is made; every complaint is one sentence that
says what to write instead.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from shoal._internal import checks, limits
from shoal.util.placement_group import PlacementGroup
from shoal.util.scheduling_strategies import (
    NodeAffinitySchedulingStrategy,
    NodeLabelSchedulingStrategy,
    PlacementGroupSchedulingStrategy,
)

Options = dict[str, Any]


def _optional(check: Callable[[str, Any], None]) -> Callable[[str, Any], None]:
    """The same for an option that may be None, which is as good as not giving it."""

    def checked(name: str, value: Any) -> None:
        if value is not None:
            check(name, value)

    return checked


_quantity = _optional(checks.amount)
_string = _optional(checks.text)
_flag = _optional(checks.flag)


def _count(minimum: int, meaning: str = "") -> Callable[[str, Any], None]:
    return _optional(lambda name, value: checks.count(name, value, minimum, meaning))


_limit = _count(-1, " (-1 means without limit)")


def _gpu_quantity(name: str, value: Any) -> None:
    _quantity(name, value)
    if value is not None and value > 1 and float(value) != int(value):
        raise ValueError(
            f"{name} above 1 must be a whole number, not {checks.shown(value)}: only one GPU can be shared."
        )


def _num_returns(name: str, value: Any) -> None:
    if checks.one_of(value, "dynamic", "streaming"):
        raise ValueError(f'{name}="{value}" is not supported: return a list, or put the items and return references.')
    _count(0)(name, value)


def _resources(name: str, value: Any) -> None:
    if value is None:
        return
    if not isinstance(value, Mapping):
        raise TypeError(f"{name} must be a dict of names and amounts, not {type(value).__name__}.")
    for key, amount in value.items():
        checks.text(f"a name in {name}", key)
        if key in ("CPU", "GPU", "memory"):
            option = {"CPU": "num_cpus", "GPU": "num_gpus", "memory": "memory"}[key]
            raise ValueError(f"{name} may not name {key}: use {option} instead.")
        checks.amount(f'{name}["{key}"]', amount)


def _retry_exceptions(name: str, value: Any) -> None:
    if isinstance(value, bool) or value is None:
        return
    if not isinstance(value, (list, tuple)) or not all(
        isinstance(item, type) and issubclass(item, BaseException) for item in value
    ):
        raise TypeError(f"{name} must be True, False or a list of exception classes, not {checks.shown(value)}.")


@_optional
def _lifetime(name: str, value: Any) -> None:
    if not checks.one_of(value, "detached", "non_detached"):
        raise ValueError(f'{name} must be None, "detached" or "non_detached", not {checks.shown(value)}.')


@_optional
def _strategy(name: str, value: Any) -> None:
    classes = (PlacementGroupSchedulingStrategy, NodeAffinitySchedulingStrategy, NodeLabelSchedulingStrategy)
    if not checks.one_of(value, "DEFAULT", "SPREAD") and not isinstance(value, classes):
        raise ValueError(
            f'{name} must be "DEFAULT", "SPREAD" or a strategy of shoal.util.scheduling_strategies, '
            f"not {checks.shown(value)}."
        )


# What a worker is told by its environment.
_OWN_VARIABLES = frozenset(
    "SHOAL_" + name
    for name in ("CWD", "DRIVER_VERSIONS", "JOB_ID", "PREIMPORT", "RAYLET_SOCKET", "SYS_PATH", "WORKER_ID")
)


def _runtime_env(name: str, value: Any) -> None:
    """`runtime_env` holds environment variables and nothing else."""
    if value is None:
        return
    if not isinstance(value, Mapping):
        raise TypeError(f"{name} must be a dict, not {type(value).__name__}.")
    for key in value:
        if key != "env_vars":
            raise ValueError(f'{name}["{key}"] is not supported: only "env_vars" is.')
    env_vars = value.get("env_vars")
    if env_vars is None:
        return
    checks.texts(f'{name}["env_vars"]', env_vars)
    for variable in env_vars:
        if "=" in variable:
            raise ValueError(f'{name}["env_vars"] must have names without "=", not {checks.shown(variable)}.')
        if variable in _OWN_VARIABLES:
            raise ValueError(f'{name}["env_vars"] may not set {variable}: the runtime sets it for its workers.')


def _concurrency_groups(name: str, value: Any) -> None:
    if value is None:
        return
    if not isinstance(value, Mapping):
        raise TypeError(f"{name} must be a dict of group names and sizes, not {type(value).__name__}.")
    for key, size in value.items():
        checks.text(f"a name in {name}", key)
        _count(1)(f'{name}["{key}"]', size)


@_optional
def _placement_group(name: str, value: Any) -> None:
    if not checks.one_of(value, "default") and not isinstance(value, PlacementGroup):
        raise TypeError(f"{name} must be a PlacementGroup, not {checks.shown(value)}.")


@_optional
def _labels(name: str, value: Any) -> None:
    checks.texts(name, value)
    for key, label in value.items():
        if not label or any(character in key + label for character in ",="):
            shown = f"{checks.shown(key)}: {checks.shown(label)}"
            raise ValueError(f'{name} must be non-empty texts without "," and "=", not {shown}.')


@_optional
def _node_cpus(name: str, value: Any) -> None:
    checks.amount(name, value, limits.NODE_UNITS)


def _node_gpus(name: str, value: Any) -> None:
    _node_cpus(name, value)
    _gpu_quantity(name, value)


@_optional
def _store_bytes(name: str, value: Any) -> None:
    checks.amount(name, value, limits.MOST_STORE_BYTES)
    if value < limits.LEAST_STORE_BYTES:
        raise ValueError(f"{name} must be at least {limits.LEAST_STORE_BYTES} bytes, not {checks.shown(value)}.")


def _logging_level(name: str, value: Any) -> None:
    known = isinstance(logging.getLevelName(value.upper()), int) if isinstance(value, str) else isinstance(value, int)
    if not known:
        kind = ValueError if isinstance(value, str) else TypeError
        raise kind(f'{name} must be an int or a name such as "INFO", not {checks.shown(value)}.')


_INIT: dict[str, Callable[[str, Any], None]] = {
    "num_cpus": _node_cpus,
    "num_gpus": _node_gpus,
    "resources": _resources,
    "labels": _labels,
    "object_store_memory": _store_bytes,
    "logging_level": _logging_level,
    "namespace": _string,
    "runtime_env": _runtime_env,
}
_COMMON: dict[str, Callable[[str, Any], None]] = {
    "num_cpus": _quantity,
    "num_gpus": _gpu_quantity,
    "memory": _quantity,
    "resources": _resources,
    "accelerator_type": _string,
    "name": _string,
    "scheduling_strategy": _strategy,
    "label_selector": _optional(checks.texts),
    "runtime_env": _runtime_env,
    "placement_group": _placement_group,
    "placement_group_bundle_index": _count(-1, " (-1 means any bundle)"),
    "placement_group_capture_child_tasks": _flag,
    "enable_task_events": checks.flag,
}
_TASK = {
    **_COMMON,
    "num_returns": _num_returns,
    "max_retries": _limit,
    "retry_exceptions": _retry_exceptions,
    "max_calls": _count(0),
}
_ACTOR = {
    **_COMMON,
    "max_restarts": _limit,
    "max_task_retries": _limit,
    "max_concurrency": _count(1),
    "max_pending_calls": _limit,
    "namespace": _string,
    "lifetime": _lifetime,
    "get_if_exists": checks.flag,
    "concurrency_groups": _concurrency_groups,
    "allow_out_of_order_execution": _flag,
}
_METHOD: dict[str, Callable[[str, Any], None]] = {
    "num_returns": _num_returns,
    "concurrency_group": _string,
    "max_task_retries": _limit,
    "retry_exceptions": _retry_exceptions,
    "name": _string,
    "enable_task_events": checks.flag,
}
# A declaration may set these, a single call may not.
_TASK_DECLARATION_ONLY = {"max_calls"}
_ACTOR_DECLARATION_ONLY = {"concurrency_groups"}


def _check(kind: str, table: Mapping[str, Callable[[str, Any], None]], options: Mapping[str, Any]) -> Options:
    for name, value in options.items():
        check = table.get(name)
        if check is None:
            raise ValueError(f"{name!r} is not an option of {kind}: choose from {', '.join(sorted(table))}.")
        check(name, value)
    _check_together(options)
    return dict(options)


def _check_together(options: Mapping[str, Any]) -> None:
    if options.get("get_if_exists") and not options.get("name"):
        raise ValueError("get_if_exists needs a name.")
    group = options.get("placement_group")
    if group is not None and options.get("scheduling_strategy") is not None:
        raise ValueError("Give either placement_group or scheduling_strategy, not both.")


def task_options(options: Mapping[str, Any], *, declaration: bool = True) -> Options:
    """Checks the options of a remote function."""
    for name in () if declaration else _TASK_DECLARATION_ONLY & options.keys():
        raise ValueError(f"{name} belongs into @remote(...), not into .options(...).")
    return _check("a task", _TASK, options)


def actor_options(options: Mapping[str, Any], *, declaration: bool = True) -> Options:
    """Checks the options of an actor class."""
    for name in () if declaration else _ACTOR_DECLARATION_ONLY & options.keys():
        raise ValueError(f"{name} belongs into @remote(...), not into .options(...).")
    return _check("an actor", _ACTOR, options)


def method_options(options: Mapping[str, Any]) -> Options:
    """Checks the options of an actor's method."""
    return _check("a method", _METHOD, options)


def check_init(options: Mapping[str, Any]) -> None:
    """Checks the arguments of init() that need it."""
    for name, check in _INIT.items():
        check(name, options[name])


def resource_amounts(options: Mapping[str, Any], default_cpus: float) -> dict[str, float]:
    """The resources that an options dict asks for, by name."""
    amounts = {name: float(amount) for name, amount in (options.get("resources") or {}).items()}
    cpus = options.get("num_cpus")
    amounts["CPU"] = default_cpus if cpus is None else float(cpus)
    amounts["GPU"] = float(options.get("num_gpus") or 0)
    amounts["memory"] = float(options.get("memory") or 0)
    accelerator = options.get("accelerator_type")
    if accelerator:
        amounts[f"accelerator_type:{accelerator}"] = 0.001
    return {name: amount for name, amount in amounts.items() if amount > 0}


def strategy_tuple(options: Mapping[str, Any]) -> tuple[int, str, bool, str, int]:
    """(StrategyKind, node hex, soft, group hex, bundle index), as `_shoal.register_shape` takes it."""
    strategy = options.get("scheduling_strategy")
    group, index, _ = placement_of(options)
    if group is not None:
        if index >= group.bundle_count:
            raise ValueError(
                f"placement_group_bundle_index must be -1 to {group.bundle_count - 1} for a group of "
                f"{group.bundle_count} bundles, not {index}."
            )
        return (3, "", False, group.id, index)
    if isinstance(strategy, NodeAffinitySchedulingStrategy):
        return (2, strategy.node_id, strategy.soft, "", -1)
    return (1 if strategy == "SPREAD" else 0, "", False, "", -1)


def placement_of(options: Mapping[str, Any]) -> tuple[PlacementGroup | None, int, bool]:
    """The placement group in which something with these options runs, its bundle or -1, whether children do, too.

    Without a word on the place, that is the group of the calling task if it captures its children.
    """
    strategy, group = options.get("scheduling_strategy"), options.get("placement_group")
    if isinstance(group, PlacementGroup):
        capture = bool(options.get("placement_group_capture_child_tasks"))
        index = options.get("placement_group_bundle_index")
        return group, -1 if index is None else index, capture
    if isinstance(strategy, PlacementGroupSchedulingStrategy):
        if not isinstance(strategy.placement_group, PlacementGroup):
            return None, -1, False
        capture = bool(strategy.placement_group_capture_child_tasks)
        return strategy.placement_group, strategy.placement_group_bundle_index, capture
    if strategy is None and group is None:
        from shoal.util.placement_group import captured_placement_group

        return captured_placement_group(), -1, True
    return None, -1, False


def merged(declared: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Declared options with those that .options() gives on top."""
    result = {**declared, **given}
    # One of the two ways to name a place replaces the other.
    if "scheduling_strategy" in given and "placement_group" not in given:
        result.pop("placement_group", None)
    if "placement_group" in given and "scheduling_strategy" not in given:
        result.pop("scheduling_strategy", None)
    return result


def label_selector(options: Mapping[str, Any]) -> dict[str, str]:
    """The label selector of an options dict in the form of schema/task_messages.h."""
    labels: dict[str, str] = dict(options.get("label_selector") or {})
    strategy = options.get("scheduling_strategy")
    if isinstance(strategy, NodeLabelSchedulingStrategy):
        labels.update({key: str(value) for key, value in (strategy.hard or {}).items()})
    return labels


def env_vars(options: Mapping[str, Any]) -> dict[str, str]:
    """The environment variables that an options dict adds."""
    return dict((options.get("runtime_env") or {}).get("env_vars") or {})
