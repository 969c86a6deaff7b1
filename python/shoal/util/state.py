"""Tables of what the cluster knows: nodes, actors, tasks, objects, workers, jobs, placement groups.

for actor in list_actors(filters=[("state", "=", "ALIVE")]):
    print(actor.actor_id, actor["class_name"])
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from shoal._internal import state as _state

Filter = tuple[str, str, Any]


class StateRow(dict[str, Any]):
    """A row; columns are keys and attributes."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"This row has no column {name!r}: it has {', '.join(self)}.") from None


def _matches(row: _state.Row, filters: Iterable[Filter]) -> bool:
    for column, operator, wanted in filters:
        if operator not in ("=", "!="):
            raise ValueError(f'The operator of a filter must be "=" or "!=", not {operator!r}.')
        if (str(row.get(column)).lower() == str(wanted).lower()) != (operator == "="):
            return False
    return True


def _list(kind: str, filters: list[Filter] | None, limit: int, per_node: bool = False) -> list[StateRow]:
    if per_node:
        found = [row for node in _state.nodes() if node["Alive"] for row in _state.rows(kind, "", node["NodeID"])]
    else:
        found = _state.rows(kind)
    return [StateRow(row) for row in found if _matches(row, filters or [])][:limit]


def list_nodes(filters: list[Filter] | None = None, limit: int = 100) -> list[StateRow]:
    """Nodes that are or were in the cluster."""
    return _list("nodes", filters, limit)


def list_actors(filters: list[Filter] | None = None, limit: int = 100) -> list[StateRow]:
    """Actors, the dead ones that are still remembered included."""
    return _list("actors", filters, limit)


def list_jobs(filters: list[Filter] | None = None, limit: int = 100) -> list[StateRow]:
    """Drivers and what they run."""
    return _list("jobs", filters, limit)


def list_placement_groups(filters: list[Filter] | None = None, limit: int = 100) -> list[StateRow]:
    """Placement groups."""
    return _list("placement_groups", filters, limit)


def list_workers(filters: list[Filter] | None = None, limit: int = 100) -> list[StateRow]:
    """Worker processes of all nodes."""
    return _list("workers", filters, limit, per_node=True)


def list_objects(filters: list[Filter] | None = None, limit: int = 100) -> list[StateRow]:
    """Objects in the stores of all nodes."""
    return _list("objects", filters, limit, per_node=True)


def list_tasks(filters: list[Filter] | None = None, limit: int = 100) -> list[StateRow]:
    """Tasks that hold a lease or wait for one, by node."""
    return _list("leases", filters, limit, per_node=True)


def get_actor(id: str) -> StateRow | None:
    """The row of one actor, or None."""
    found = list_actors([("actor_id", "=", id)], 1)
    return found[0] if found else None


def get_node(id: str) -> StateRow | None:
    """The row of one node, or None."""
    found = list_nodes([("node_id", "=", id)], 1)
    return found[0] if found else None


def summarize_actors() -> dict[str, int]:
    """How many actors there are in each state."""
    return dict(Counter(str(row.get("state")) for row in list_actors(limit=10_000)))
