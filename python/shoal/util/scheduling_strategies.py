"""Where a task or actor should run, as values of the option `scheduling_strategy`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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
        if isinstance(placement_group_bundle_index, bool) or not isinstance(placement_group_bundle_index, int):
            raise TypeError(f"placement_group_bundle_index must be an int, not {placement_group_bundle_index!r}.")
        if placement_group_bundle_index < -1:
            raise ValueError(f"placement_group_bundle_index must be -1 or more, not {placement_group_bundle_index}.")
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
            raise ValueError(f"node_id must be 16 hex digits, not {node_id!r}.") from None
        if len(node_id) != 16:
            raise ValueError(f"node_id must be 16 hex digits, not {node_id!r}.")
        self.node_id = node_id
        self.soft = bool(soft)


class _Operator:
    def __init__(self, *values: str) -> None:
        if not all(isinstance(value, str) for value in values):
            raise TypeError(f"labels are compared with str, not {values!r}.")
        self.values = values


class In(_Operator):
    """The label is one of these."""

    def __str__(self) -> str:
        return f"in({','.join(self.values)})"


class NotIn(_Operator):
    """The label is none of these."""

    def __str__(self) -> str:
        return f"!in({','.join(self.values)})"


class NodeLabelSchedulingStrategy:
    """On nodes whose labels meet all of `hard` (a dict of label to `In`, `NotIn` or str)."""

    def __init__(self, hard: dict[str, Any] | None = None, soft: dict[str, Any] | None = None) -> None:
        if not hard and not soft:
            raise ValueError("NodeLabelSchedulingStrategy needs at least one hard or soft condition.")
        self.hard = hard
        self.soft = soft
