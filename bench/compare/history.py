"""The record that each run leaves: when, of which commit, on which machine, and what it measured."""

from __future__ import annotations

import datetime
import json
import os
import pathlib
import subprocess
from typing import Any

from compare import table

ROOT = pathlib.Path(__file__).resolve().parents[2]
RESULTS = ROOT / "bench" / "results"


def record(suite: str, settings: dict[str, Any], summary: table.Summary) -> dict[str, Any]:
    rows: dict[str, dict[str, Any]] = {}
    for one in summary.entries:
        if table.OURS in one.spreads:
            figures = {
                "median": rounded(one.spreads[table.OURS].median),
                "ratios": {library: rounded(ratio) for library, ratio in one.ratios.items()},
            }
            rows.setdefault(one.row, {})[one.figure] = figures
    date = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    return {
        "suite": suite,
        "date": date,
        **settings,
        "machine": machine(),
        "geometric_means": {library: rounded(mean) for library, mean in summary.means.items()},
        "rows": rows,
    }


def append(entry: dict[str, Any]) -> None:
    with (RESULTS / "history.jsonl").open("a") as file:
        file.write(json.dumps(entry) + "\n")


def rounded(value: float) -> float:
    return float(f"{value:.4g}")


def commit() -> str:
    """Of the working tree, with "+" if it was changed; results do not count."""

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()

    changed = git("status", "--porcelain", "--", ".", ":!bench/results")
    return git("rev-parse", "--short=12", "HEAD") + ("+" if changed else "")


def machine() -> dict[str, Any]:
    cpu = field("/proc/cpuinfo", "model name")
    memory_kb = int(field("/proc/meminfo", "MemTotal").split()[0])
    return {"cores": os.cpu_count(), "cpu": cpu, "memory_gb": round(memory_kb / 1e6, 1)}


def field(path: str, name: str) -> str:
    for line in pathlib.Path(path).read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return ""
