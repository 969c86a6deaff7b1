"""Memory and threads of an idle runtime: all its processes with two idle Python workers, without the driver.

    python idle.py ray|shoal --json OUT
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import pathlib


def descendants(pid: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except (OSError, IndexError):
                continue
            children.setdefault(parent, []).append(int(entry.name))
    found, todo = [], [pid]
    while todo:
        for child in children.get(todo.pop(), []):
            found.append(child)
            todo.append(child)
    return found


def measure(pid: int) -> dict[str, float]:
    totals = {"pss_mb": 0.0, "rss_mb": 0.0, "threads": 0, "processes": 0}
    for child in descendants(pid):
        try:
            rollup = pathlib.Path(f"/proc/{child}/smaps_rollup").read_text()
            totals["threads"] += len(os.listdir(f"/proc/{child}/task"))
        except OSError:
            continue
        fields = dict(line.split()[:2] for line in rollup.splitlines()[1:])
        totals["pss_mb"] += int(fields["Pss:"]) / 1024
        totals["rss_mb"] += int(fields["Rss:"]) / 1024
        totals["processes"] += 1
    return totals


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("library", choices=["ray", "shoal"])
    parser.add_argument("--json", required=True)
    arguments = parser.parse_args()
    lib = importlib.import_module(arguments.library)
    lib.init(num_cpus=2, **({"include_dashboard": False} if arguments.library == "ray" else {}))

    @lib.remote(num_cpus=0)
    class Idle:
        def ready(self) -> int:
            return os.getpid()

    actors = [Idle.remote() for _ in range(2)]
    lib.get([actor.ready.remote() for actor in actors])
    totals = measure(os.getpid())
    lib.shutdown()
    pathlib.Path(arguments.json).write_text(json.dumps({"idle": totals}, indent=1))


if __name__ == "__main__":
    main()
