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


def is_alive(row: Row) -> bool:
    """True for the row of a node that is in the cluster."""
    return bool(row["state"] == "ALIVE")


def nodes() -> list[Row]:
    """Every node that is or was in the cluster, with Ray's keys."""
    return [_ray_node(row) for row in rows("nodes")]


def _ray_node(row: Row) -> Row:
    host, _, port = row["control_endpoint"].rpartition(":")
    node_id = row["node_id"]
    alive = is_alive(row)
    return {
        "NodeID": node_id,
        "Alive": alive,
        "NodeName": row["name"] or node_id,
        "NodeManagerAddress": host,
        "NodeManagerHostname": row["name"],
        "NodeManagerPort": int(port) if port.isdigit() else 0,
        "Resources": row["resources_total"] if alive else {},
        "Labels": row["labels"],
        "alive": alive,
    }


def _sum(column: str) -> dict[str, float]:
    total: dict[str, float] = {}
    for row in rows("nodes"):
        if is_alive(row):
            for name, amount in row[column].items():
                total[name] = total.get(name, 0.0) + float(amount)
    return {name: amount for name, amount in total.items() if amount > 0}


def cluster_resources() -> dict[str, float]:
    """What all nodes have, by resource."""
    return _sum("resources_total")


def available_resources() -> dict[str, float]:
    """What of it nobody holds now. A resource that is all in use is left out."""
    return _sum("resources_available")
