"""Joins the runs of run into one JSON file and prints the table of ratios: python table.py RUNS_FOLDER OUT.json"""

from __future__ import annotations

import json
import pathlib
import statistics
import sys

# Rows where less is better.
COSTS = {"seconds", "p50_us", "p90_us", "p99_us", "pss_mb", "rss_mb", "threads", "processes"}


def merge(folder: pathlib.Path, library: str) -> dict[str, dict[str, float]]:
    """Mean over the runs for each row and figure."""
    collected: dict[str, dict[str, list[float]]] = {}
    for path in sorted(folder.glob(f"{library}-*.json")):
        for row, figures in json.loads(path.read_text()).items():
            for figure, value in figures.items():
                collected.setdefault(row, {}).setdefault(figure, []).append(value)
    return {row: {name: statistics.fmean(values) for name, values in figures.items()} for row, figures in collected.items()}


def main() -> None:
    folder, out = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    shoal, ray = merge(folder, "shoal"), merge(folder, "ray")
    table = []
    for row, figures in shoal.items():
        for figure, ours in figures.items():
            if figure == "best":
                continue
            theirs = ray.get(row, {}).get(figure)
            ratio = None
            if theirs and ours:
                ratio = theirs / ours if figure in COSTS else ours / theirs
            table.append({"row": row, "figure": figure, "shoal": ours, "ray": theirs, "times_better": ratio})
    out.write_text(json.dumps(table, indent=1))
    print(f"{'row':44}{'figure':12}{'Shoal':>14}{'Ray':>14}{'times':>8}")
    for entry in table:
        theirs = "" if entry["ray"] is None else f"{entry['ray']:,.3f}"
        times = "" if entry["times_better"] is None else f"{entry['times_better']:.1f}"
        print(f"{entry['row']:44}{entry['figure']:12}{entry['shoal']:>14,.3f}{theirs:>14}{times:>8}")


if __name__ == "__main__":
    main()
