"""Placement groups, pools and queues."""

from typing import Any

from shoal.util.placement_group import (
    get_current_placement_group,
    get_placement_group,
    placement_group,
    placement_group_table,
    remove_placement_group,
)

__all__ = [
    "ActorPool",
    "get_current_placement_group",
    "get_placement_group",
    "placement_group",
    "placement_group_table",
    "remove_placement_group",
]


def __getattr__(name: str) -> Any:
    # ActorPool stands on the whole package, which is being imported while this module is.
    if name == "ActorPool":
        from shoal.util.actor_pool import ActorPool

        return ActorPool
    raise AttributeError(f"module 'shoal.util' has no attribute {name!r}")
