"""The bounds of bench/targets.toml, and whether a figure keeps them."""

from __future__ import annotations

import pathlib
from typing import Any

import tomllib

Bound = dict[str, Any]
OVERALL = "overall"  # stands for no row but for all
FILE = pathlib.Path(__file__).resolve().parent.parent / "targets.toml"


def load(path: pathlib.Path = FILE) -> dict[str, dict[str, Bound]]:
    """row -> figure -> bound."""
    return tomllib.loads(path.read_text())


def describe(bound: Bound) -> str:
    match bound:
        case {"at_most": limit}:
            return f"at most {limit:,}"
        case {"at_least": limit}:
            return f"at least {limit:,}"
        case {"share": share, "of": row}:
            return f"at least {share:.0%} of {row}"
        case {"ahead_of": library}:
            return f"ahead of {library}"
    raise ValueError(f"{FILE.name} knows no bound like {bound}")


def is_met(bound: Bound, value: float, ratios: dict[str, float], others: dict[str, float]) -> bool | None:
    """None if what it is compared with has not been measured. `others`: the same figure of Shoal's other rows."""
    match bound:
        case {"at_most": limit}:
            return bool(value <= limit)
        case {"at_least": limit}:
            return bool(value >= limit)
        case {"share": share, "of": row}:
            return bool(value >= share * others[row]) if row in others else None
        case {"ahead_of": library}:
            return ratios[library] > 1 if library in ratios else None
    raise ValueError(f"{FILE.name} knows no bound like {bound}")
