"""The table, the JSON file and the plot of a measurement."""

from __future__ import annotations

import json
import math
import os
import pathlib
import platform
import statistics
from dataclasses import asdict
from typing import Any

from measure import Sample, Settings, metg
from session import System


def summary(samples: list[Sample]) -> list[dict[str, Any]]:
    """METG of each system and pattern: its median and range over the rounds, in microseconds."""
    groups: dict[tuple[str, str], dict[int, list[Sample]]] = {}
    for sample in samples:
        groups.setdefault((sample.system, sample.pattern), {}).setdefault(sample.round, []).append(sample)
    rows = []
    for (system, pattern), rounds in groups.items():
        found = [value for value in map(metg, rounds.values()) if value is not None]
        row: dict[str, Any] = {"system": system, "pattern": pattern, "rounds": len(rounds), "bracketed": len(found)}
        if found:
            row |= {"median_us": statistics.median(found), "low_us": min(found), "high_us": max(found)}
        rows.append(row)
    return rows


def print_table(rows: list[dict[str, Any]], systems: list[System], patterns: list[str]) -> None:
    cells = {(row["system"], row["pattern"]): row for row in rows}
    print("\nMETG(50 %) in microseconds: median (lowest - highest round)")
    print(" " * 22 + "".join(f"{pattern:>26}" for pattern in patterns))
    for system in systems:
        print(f"{system.label:22}" + "".join(f"{cell(cells.get((system.name, p))):>26}" for p in patterns))


def cell(row: dict[str, Any] | None) -> str:
    if row is None or not row["bracketed"]:
        return "-"
    median, low, high = (short(row[figure]) for figure in ("median_us", "low_us", "high_us"))
    return f"{median} ({low} - {high})"


def short(figure: float) -> str:
    return f"{figure:,.0f}" if figure >= 100 else f"{figure:.3g}"


def machine() -> dict[str, Any]:
    model = [line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")]
    return {"cpu": model[0], "cores": os.cpu_count(), "kernel": platform.release(), "load_before": os.getloadavg()}


def write_json(path: pathlib.Path, facts: dict[str, Any], settings: Settings, samples: list[Sample]) -> None:
    result = {**facts, "settings": asdict(settings), "metg": summary(samples), "samples": [asdict(s) for s in samples]}
    path.write_text(json.dumps(result, indent=1) + "\n")


def plot(path: pathlib.Path, samples: list[Sample], systems: list[System], patterns: list[str]) -> None:
    """Efficiency over task length, a panel per pattern and a line per system, as PNG and SVG."""
    import matplotlib  # in build/peers alone

    matplotlib.use("Agg")
    from matplotlib import pyplot

    columns = min(2, len(patterns))
    rows = math.ceil(len(patterns) / columns)
    figure, panels = pyplot.subplots(
        rows, columns, figsize=(6 * columns, 4 * rows + 1), sharey=True, squeeze=False, layout="constrained"
    )
    for panel, pattern in zip(panels.flat, patterns, strict=False):
        for system in systems:
            line = medians([s for s in samples if s.system == system.name and s.pattern == pattern])
            panel.plot(*zip(*line, strict=True), marker="o", markersize=3, label=system.label)
        panel.axhline(0.5, color="grey", linestyle="--", linewidth=0.8)
        panel.set(xscale="log", ylim=(0, 1.05), title=pattern, xlabel="task length in microseconds")
        panel.grid(alpha=0.3)
        panel.set_ylabel("efficiency")
    for panel in panels.flat[len(patterns) :]:
        panel.remove()
    handles, labels = panels.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4)
    for suffix in (".png", ".svg"):
        figure.savefig(path.with_suffix(suffix), dpi=150)


def medians(samples: list[Sample]) -> list[tuple[float, float]]:
    """Task length and efficiency, medians over the rounds, of the lengths that each round has."""
    rounds = len({sample.round for sample in samples})
    lengths: dict[float, list[Sample]] = {}
    for sample in sorted(samples, key=lambda s: s.factor):
        lengths.setdefault(sample.factor, []).append(sample)
    return [
        (statistics.median(s.task_us for s in group), statistics.median(s.efficiency for s in group))
        for group in lengths.values()
        if len(group) == rounds
    ]
