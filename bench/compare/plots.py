"""Draws how many times better Shoal does, as PNG and SVG beside the summary: python plots.py SUMMARY.json"""

from __future__ import annotations

import json
import pathlib
import sys
from typing import Any

import matplotlib

matplotlib.use("Agg")
matplotlib.rcParams["svg.hashsalt"] = "shoal"  # the same figures give the same file

from matplotlib import pyplot  # noqa: E402
from matplotlib.patches import Patch  # noqa: E402

COLOURS = ["#31688e", "#e07a5f", "#3d9970", "#b07aa1", "#d4a017"]
BAR = 0.24  # inches
GAP = 0.4  # between rows, in bars

Ratios = dict[str, dict[str, float]]  # row -> library -> ratio


def headlines(summary: dict[str, Any]) -> Ratios:
    return {entry["row"]: entry["ratios"] for entry in summary["entries"] if entry["headline"] and entry["ratios"]}


def draw(summary: dict[str, Any], path: pathlib.Path) -> None:
    rows = headlines(summary)
    libraries = list(dict.fromkeys(library for ratios in rows.values() for library in ratios))
    height = sum(len(ratios) + GAP for ratios in rows.values())
    figure, axes = pyplot.subplots(figsize=(10, 1.6 + BAR * height), layout="constrained")
    draw_bars(axes, rows, libraries)
    figure.suptitle(title(summary, libraries), fontsize=10)
    dress(axes)
    means = summary["geometric_means"]
    labels = [f"{library}: geometric mean of the rates {text(means[library])}" for library in libraries]
    patches = [Patch(color=COLOURS[number]) for number in range(len(libraries))]
    figure.legend(patches, labels, loc="outside lower center", ncols=2, fontsize=8)
    if len(libraries) == 1:
        axes.axvline(means[libraries[0]], color=COLOURS[1], linestyle="--", linewidth=1)
    figure.savefig(path.with_suffix(".png"), dpi=120)
    figure.savefig(path.with_suffix(".svg"), metadata={"Date": None})


def draw_bars(axes: Any, rows: Ratios, libraries: list[str]) -> None:
    """A bar for each library that has the row, from the top."""
    place, ticks = 0.0, []
    for ratios in rows.values():
        ticks.append(place + (len(ratios) - 1) / 2)
        for library, ratio in ratios.items():
            bar = axes.barh(place, ratio - 1, left=1, height=0.9, color=COLOURS[libraries.index(library)])
            axes.bar_label(bar, [text(ratio)], padding=3, fontsize=8)
            place += 1
        place += GAP
    axes.set_yticks(ticks, list(rows))


def dress(axes: Any) -> None:
    """A logarithmic scale of ratios, from top to bottom."""
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}x")
    axes.invert_yaxis()
    axes.margins(x=0.1, y=0.01)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)


def text(ratio: float) -> str:
    return f"{ratio:,.0f}x" if ratio >= 100 else f"{ratio:.3g}x"


def title(summary: dict[str, Any], libraries: list[str]) -> str:
    machine = summary["machine"]
    return (
        f"How many times better Shoal does than {', '.join(libraries)}\n"
        f"medians, rounds: {summary['rounds']}; {machine['cores']} cores ({machine['cpu']}), "
        f"{machine['memory_gb']} GB; commit {summary['commit']}, {summary['date'][:10]}"
    )


if __name__ == "__main__":
    file = pathlib.Path(sys.argv[1])
    draw(json.loads(file.read_text()), file)
