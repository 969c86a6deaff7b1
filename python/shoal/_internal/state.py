"""Tables of the head and the raylets, as rows."""

from __future__ import annotations

import json
from typing import Any

from shoal import _shoal
from shoal._internal import cluster

Row = dict[str, Any]


def rows(kind: str, argument: str = "", node_id: str = "") -> list[Row]:
    """The rows of one table; of the head, or of a node's raylet."""
    cluster.ensure_init()
    found: list[Row] = json.loads(_shoal.list_state(kind, argument, node_id))
    return found


def first(row: Row, *names: str, default: Any = None) -> Any:
    """The first of these columns that the row has."""
    for name in names:
        if name in row:
            return row[name]
    return default


def is_alive(row: Row) -> bool:
    """True for the row of a node that is in the cluster."""
    return bool(first(row, "alive", default=str(row.get("state", "")).upper() == "ALIVE"))


def nodes() -> list[Row]:
    """Every node that is or was in the cluster, with Ray's keys."""
    return [_ray_node(row) for row in rows("nodes")]


def _ray_node(row: Row) -> Row:
    endpoint = str(first(row, "control_endpoint", "address", default=""))
    host, _, port = endpoint.rpartition(":")
    node_id = first(row, "node_id", "id", default="")
    alive = is_alive(row)
    return {
        "NodeID": node_id,
        "Alive": alive,
        "NodeName": first(row, "name", default="") or node_id,
        "NodeManagerAddress": host,
        "NodeManagerHostname": first(row, "name", default=""),
        "NodeManagerPort": int(port) if port.isdigit() else 0,
        "Resources": (first(row, "total", "resources_total", default={}) or {}) if alive else {},
        "Labels": first(row, "labels", default={}) or {},
        "alive": alive,
    }


def _sum(*columns: str) -> dict[str, float]:
    total: dict[str, float] = {}
    for row in rows("nodes"):
        if is_alive(row):
            for name, amount in (first(row, *columns, default={}) or {}).items():
                total[name] = total.get(name, 0.0) + float(amount)
    return {name: amount for name, amount in total.items() if amount > 0}


def cluster_resources() -> dict[str, float]:
    """What all nodes have, by resource."""
    return _sum("total", "resources_total")


def available_resources() -> dict[str, float]:
    """What of it nobody holds now. A resource that is all in use is left out."""
    return _sum("available", "resources_available")
