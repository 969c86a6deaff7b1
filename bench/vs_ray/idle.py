"""Memory and threads of an idle runtime: all its processes with two idle Python workers, without the driver.

    python idle.py ray|shoal --json OUT [--filter TEXT]

It is a program of its own because the rows leave workers behind.
"""

from __future__ import annotations

import importlib
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from compare import measure


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


def totals(pid: int) -> dict[str, float]:
    found = {"pss_mb": 0.0, "rss_mb": 0.0, "threads": 0, "processes": 0}
    for child in descendants(pid):
        try:
            rollup = pathlib.Path(f"/proc/{child}/smaps_rollup").read_text()
            found["threads"] += len(os.listdir(f"/proc/{child}/task"))
        except OSError:
            continue
        fields = dict(line.split()[:2] for line in rollup.splitlines()[1:])
        found["pss_mb"] += int(fields["Pss:"]) / 1024
        found["rss_mb"] += int(fields["Rss:"]) / 1024
        found["processes"] += 1
    return found


def idle_runtime(library: str) -> dict[str, float]:
    lib = importlib.import_module(library)
    lib.init(address="local", num_cpus=2, **({"include_dashboard": False} if library == "ray" else {}))

    @lib.remote(num_cpus=0)
    class Idle:
        def ready(self) -> int:
            return os.getpid()

    actors = [Idle.remote() for _ in range(2)]
    lib.get([actor.ready.remote() for actor in actors])
    found = totals(os.getpid())
    lib.shutdown()
    return found


def main() -> None:
    arguments = measure.parser(__doc__, ["ray", "shoal"]).parse_args()
    bench = measure.Bench(arguments.filter, arguments.seconds)
    if bench.wants("idle"):
        bench.rows["idle"] = idle_runtime(arguments.library)
    bench.write(arguments.json)


if __name__ == "__main__":
    main()
