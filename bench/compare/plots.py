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

COLOURS = ["#31688e", "#e07a5f", "#3d9970", "#b07aa1", "#d4a017"]
BAR = 0.24  # inches


def bars(summary: dict[str, Any]) -> dict[str, dict[str, float]]:
    """library -> label of the row -> ratio, for the headline figures."""
    found: dict[str, dict[str, float]] = {}
    for entry in summary["entries"]:
        if entry["headline"]:
            for library, ratio in entry["ratios"].items():
                found.setdefault(library, {})[entry["row"]] = ratio
    return found


def draw(summary: dict[str, Any], path: pathlib.Path) -> None:
    series = bars(summary)
    labels = list(dict.fromkeys(label for ratios in series.values() for label in ratios))
    group = len(series) + (0.6 if len(series) > 1 else 0.35)  # in bars, with the gap to the next row
    figure, axes = pyplot.subplots(figsize=(10, 1.6 + BAR * group * len(labels)), layout="constrained")
    for number, (library, ratios) in enumerate(series.items()):
        places = [labels.index(label) * group + number for label in ratios]
        lengths = [ratio - 1 for ratio in ratios.values()]
        drawn = axes.barh(places, lengths, left=1, height=0.9, color=COLOURS[number % len(COLOURS)], label=library)
        axes.bar_label(drawn, [text(ratio) for ratio in ratios.values()], padding=3, fontsize=8)
    axes.set_yticks([place * group + (len(series) - 1) / 2 for place in range(len(labels))], labels)
    axes.set_title(title(summary, list(series)), fontsize=10)
    dress(axes)
    if len(series) == 1:
        mean = summary["geometric_means"][next(iter(series))]
        axes.axvline(mean, color=COLOURS[1], linestyle="--", linewidth=1, label=f"geometric mean {text(mean)}")
    axes.legend(loc="lower right", fontsize=8)
    figure.savefig(path.with_suffix(".png"), dpi=120)
    figure.savefig(path.with_suffix(".svg"), metadata={"Date": None})


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
        f"medians of {summary['rounds']} rounds on {machine['cores']} cores ({machine['cpu']}), "
        f"{machine['memory_gb']} GB; commit {summary['commit']}, {summary['date'][:10]}"
    )


if __name__ == "__main__":
    file = pathlib.Path(sys.argv[1])
    draw(json.loads(file.read_text()), file)
