"""Where a task or actor should run, as values of the option `scheduling_strategy`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shoal._internal import checks
from shoal.util.placement_group import PlacementGroup


class PlacementGroupSchedulingStrategy:
    """In a placement group: in one bundle, or with index -1 in whichever has room.

    With `placement_group_capture_child_tasks` what the task starts itself runs in the group as well.
    """

    def __init__(
        self,
        placement_group: PlacementGroup | None,
        placement_group_bundle_index: int = -1,
        placement_group_capture_child_tasks: bool | None = None,
    ) -> None:
        if placement_group is not None and not isinstance(placement_group, PlacementGroup):
            raise TypeError(f"placement_group must be a PlacementGroup, not {checks.shown(placement_group)}.")
        checks.count("placement_group_bundle_index", placement_group_bundle_index, -1, " (-1 means any bundle)")
        if placement_group_capture_child_tasks is not None:
            checks.flag("placement_group_capture_child_tasks", placement_group_capture_child_tasks)
        self.placement_group = placement_group
        self.placement_group_bundle_index = placement_group_bundle_index
        self.placement_group_capture_child_tasks = placement_group_capture_child_tasks


class NodeAffinitySchedulingStrategy:
    """On one node, named by its hex id; `soft` allows another one if that is gone."""

    def __init__(self, node_id: str, soft: bool = False) -> None:
        if not isinstance(node_id, str):
            raise TypeError(f"node_id must be a hex str, not {type(node_id).__name__}.")
        try:
            bytes.fromhex(node_id)
        except ValueError:
            raise ValueError(f"node_id must be 16 hex digits, not {checks.shown(node_id)}.") from None
        if len(node_id) != 16:
            raise ValueError(f"node_id must be 16 hex digits, not {checks.shown(node_id)}.")
        checks.flag("soft", soft)
        self.node_id = node_id
        self.soft = soft


class _Operator:
    def __init__(self, *values: str) -> None:
        for value in values:
            checks.text("what a label is compared with", value, may_be_empty=True)
        self.values = values


class In(_Operator):
    """The label is one of these."""

    def __str__(self) -> str:
        return f"in({','.join(self.values)})"


class NotIn(_Operator):
    """The label is none of these."""

    def __str__(self) -> str:
        return f"!in({','.join(self.values)})"


def _check_conditions(name: str, conditions: Any) -> None:
    if conditions is None:
        return
    if not isinstance(conditions, Mapping):
        raise ValueError(f"{name} must be a dict of labels and conditions, not {checks.shown(conditions)}.")
    for label, condition in conditions.items():
        if not isinstance(label, str) or not isinstance(condition, (str, _Operator)):
            shown = f"{checks.shown(label)}: {checks.shown(condition)}"
            raise ValueError(f"{name} must be a dict of labels and In, NotIn or str, not one with {shown}.")
        checks.text(f"a label in {name}", label)
        if isinstance(condition, str):
            checks.text(f'{name}["{label}"]', condition, may_be_empty=True)


class NodeLabelSchedulingStrategy:
    """On nodes whose labels meet all of `hard` (a dict of label to `In`, `NotIn` or str)."""

    def __init__(self, hard: dict[str, Any] | None = None, soft: dict[str, Any] | None = None) -> None:
        for name, conditions in (("hard", hard), ("soft", soft)):
            _check_conditions(name, conditions)
        if not hard and not soft:
            raise ValueError("NodeLabelSchedulingStrategy needs at least one hard or soft condition.")
        self.hard = hard
        self.soft = soft
