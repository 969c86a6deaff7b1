"""Placement groups: bundles of resources that are reserved together or not at all.

group = placement_group([{"CPU": 1}, {"CPU": 1}], strategy="STRICT_SPREAD")
shoal.get(group.ready(), timeout=10)
f.options(scheduling_strategy=PlacementGroupSchedulingStrategy(group, 0)).remote()
remove_placement_group(group)
"""

from __future__ import annotations

import contextvars
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from shoal import _shoal
from shoal._internal import checks, cluster, limits
from shoal._internal.errors import ErrorKind
from shoal.exceptions import TaskPlacementGroupRemoved, TaskUnschedulableError

Bundle = dict[str, float]

_STRATEGIES = {"PACK": 0, "SPREAD": 1, "STRICT_PACK": 2, "STRICT_SPREAD": 3}
_STATES = ("PENDING", "PREPARING", "CREATED", "RESCHEDULING", "REMOVED")


class PlacementGroup:
    """A handle to a placement group; may be passed to tasks and actors."""

    def __init__(self, group_id: str, bundles: Sequence[Bundle]) -> None:
        self.id = group_id
        self._bundles = [dict(bundle) for bundle in bundles]

    @property
    def bundle_specs(self) -> list[Bundle]:
        """The bundles as they were asked for."""
        return [dict(bundle) for bundle in self._bundles]

    @property
    def bundle_count(self) -> int:
        """How many bundles there are."""
        return len(self._bundles)

    @property
    def is_empty(self) -> bool:
        """True for the handle that names no group."""
        return not self.id

    def ready(self) -> _shoal.ObjectRef[PlacementGroup]:
        """A reference that resolves to this group once all bundles are reserved."""
        from shoal.remote_function import remote_function

        ref: _shoal.ObjectRef[PlacementGroup] = remote_function(_ready, {"num_cpus": 0, "max_retries": -1}).remote(self)
        return ref

    def wait(self, timeout_seconds: float = 30) -> bool:
        """Waits until all bundles are reserved; False if they were not in time. Raises if they never will be."""
        return _wait(self.id, timeout_seconds)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PlacementGroup) and self.id == other.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"PlacementGroup({self.id}, {self._bundles})"

    def __reduce__(self) -> tuple[Any, ...]:
        return (PlacementGroup, (self.id, self._bundles))


def _ready(group: PlacementGroup) -> PlacementGroup:
    _wait(group.id, None)
    return group


def _wait(group_id: str, timeout: float | None) -> bool:
    state, kind, message = _shoal.wait_placement_group(group_id, timeout)
    name = _STATES[state]
    if name == "REMOVED":
        if message and kind not in (ErrorKind.NONE, ErrorKind.PLACEMENT_GROUP_REMOVED):
            raise TaskUnschedulableError(message)
        raise TaskPlacementGroupRemoved(message or f"Placement group {group_id} has been removed.")
    return name == "CREATED"


def _check_bundles(bundles: Any) -> list[Bundle]:
    if not isinstance(bundles, (list, tuple)) or not bundles:
        raise ValueError("bundles must be a non-empty list of dicts of resource names and amounts.")
    if len(bundles) > limits.BUNDLES:
        raise ValueError(f"bundles must be {limits.BUNDLES} at most, not {len(bundles)}.")
    for position, bundle in enumerate(bundles):
        if not isinstance(bundle, Mapping) or not bundle:
            shown = checks.shown(bundle)
            raise ValueError(f"bundle {position} must be a non-empty dict of names and amounts, not {shown}.")
        try:
            for name, amount in bundle.items():
                checks.text(f"a name in bundle {position}", name)
                checks.amount(f"{name} of bundle {position}", amount)
        except TypeError as error:  # as Ray does
            raise ValueError(str(error)) from None
        if not any(amount > 0 for amount in bundle.values()):
            raise ValueError(f"bundle {position} must ask for something, not {checks.shown(bundle)}.")
    return [dict(bundle) for bundle in bundles]


def _check_selectors(selectors: Any, bundles: int) -> list[dict[str, str]]:
    if selectors is None:
        return []
    if not isinstance(selectors, (list, tuple)) or len(selectors) not in (0, bundles):
        shown = checks.shown(selectors)
        raise ValueError(f"bundle_label_selector must be a list of one dict per bundle ({bundles}), not {shown}.")
    for position, selector in enumerate(selectors):
        checks.texts(f"bundle_label_selector[{position}]", selector)
    return [dict(selector) for selector in selectors]


def placement_group(
    bundles: list[Bundle],
    strategy: str = "PACK",
    name: str = "",
    lifetime: str | None = None,
    _soft_target_node_id: str | None = None,
    bundle_label_selector: list[dict[str, str]] | None = None,
) -> PlacementGroup:
    """Reserves bundles, all or none; returns at once. See `PlacementGroup.ready` and `wait`."""
    checked = _check_bundles(bundles)
    if not checks.one_of(strategy, *_STRATEGIES):
        raise ValueError(f"strategy must be one of {', '.join(_STRATEGIES)}, not {checks.shown(strategy)}.")
    checks.text("name", name, may_be_empty=True)
    if lifetime is not None and not checks.one_of(lifetime, "detached"):
        raise ValueError(f'lifetime must be None or "detached", not {checks.shown(lifetime)}.')
    selectors = _check_selectors(bundle_label_selector, len(checked))
    cluster.ensure_init()
    group_id = _shoal.create_placement_group(
        [{key: float(amount) for key, amount in bundle.items()} for bundle in checked],
        _STRATEGIES[strategy],
        name,
        lifetime == "detached",
        selectors,
    )
    return PlacementGroup(group_id, checked)


def remove_placement_group(placement_group: PlacementGroup) -> None:
    """Gives the bundles back. What runs in them is stopped, what waits for them fails."""
    if not isinstance(placement_group, PlacementGroup):
        raise TypeError(f"remove_placement_group takes a PlacementGroup, not {type(placement_group).__name__}.")
    cluster.ensure_init()
    _shoal.remove_placement_group(placement_group.id)


def placement_group_table(placement_group: PlacementGroup | None = None) -> dict[str, Any]:
    """State of one group, or of all by id, with Ray's keys: placement_group_id, name, bundles (by index),
    bundles_to_node_id, strategy, state, stats; also `reason` (why it waits).
    """
    if placement_group is not None and not isinstance(placement_group, PlacementGroup):
        raise TypeError(f"placement_group_table takes a PlacementGroup, not {type(placement_group).__name__}.")
    rows = _rows()
    if placement_group is None:
        return {row["placement_group_id"]: _as_ray(row) for row in rows}
    for row in rows:
        if row["placement_group_id"] == placement_group.id:
            return _as_ray(row)
    return {}


def _rows() -> list[dict[str, Any]]:
    cluster.ensure_init()
    found: list[dict[str, Any]] = json.loads(_shoal.list_state("placement_groups", ""))
    return found


def _as_ray(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "placement_group_id": row["placement_group_id"],
        "name": row["name"],
        "namespace": row["namespace"],
        "bundles": {bundle["bundle_index"]: bundle["resources"] for bundle in row["bundles"]},
        "bundles_to_node_id": {bundle["bundle_index"]: bundle["node_id"] for bundle in row["bundles"]},
        "strategy": row["strategy"],
        "state": row["state"],
        "stats": {},
        "reason": row["reason"],
    }


def get_placement_group(placement_group_name: str) -> PlacementGroup:
    """The placement group of that name in this namespace."""
    checks.text("placement_group_name", placement_group_name)
    cluster.ensure_init()
    namespace = _shoal.identity()["namespace"]
    deadline = time.monotonic() + 1.0
    while True:
        for row in _rows():
            if row["namespace"] == namespace and row["name"] == placement_group_name and row["state"] != "REMOVED":
                return PlacementGroup(row["placement_group_id"], [bundle["resources"] for bundle in row["bundles"]])
        # The creation may still be on its way from another process.
        if time.monotonic() > deadline:
            raise ValueError(f"There is no placement group named {placement_group_name!r} in this namespace.")
        time.sleep(0.02)


# What runs now: (group, whether children run in it too). Set by the worker around each task.
_current: contextvars.ContextVar[tuple[PlacementGroup | None, bool]] = contextvars.ContextVar(
    "shoal_placement_group", default=(None, False)
)
_of_actor: tuple[PlacementGroup | None, bool] = (None, False)


def enter_placement_group(group: PlacementGroup | None, capture: bool, for_actor: bool = False) -> None:
    """Called by the worker before a task runs, and once for an actor."""
    global _of_actor
    before = captured_placement_group()
    if for_actor:
        _of_actor = (group, capture)
    else:
        _current.set((group, capture))
    if captured_placement_group() != before:
        _shoal.reconfigure()  # calls that are ready to be made would go where they went before


def _here() -> tuple[PlacementGroup | None, bool]:
    here = _current.get()
    return here if here[0] is not None else _of_actor


def get_current_placement_group() -> PlacementGroup | None:
    """The group in which the calling task or actor runs, or None."""
    return _here()[0]


def captured_placement_group() -> PlacementGroup | None:
    """The group in which children of the calling task run unless told otherwise."""
    group, capture = _here()
    return group if capture else None
