"""Measures Shoal beside other libraries in interleaved rounds, and reports medians, spreads and ratios.

    build/venv/bin/python bench/run.py vs_ray|vs_peers [--rounds 5] [--seconds 1] [--filter TEXT] [--steps N]

A run that was interrupted goes on where it was when it is started again with the same arguments and commit; --steps N
stops after N programs, --fresh begins anew. How long a run takes: bench/README.md.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import fcntl
import json
import pathlib
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

from compare import environments, history, table, targets
from compare.steps import ROOT, SUITES, Step, steps_of, take


def main() -> None:
    arguments = parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the program that runs is ended too
    with alone():
        measure(arguments)


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Two runs at a time would measure each other."""
    (ROOT / "build" / "bench").mkdir(parents=True, exist_ok=True)
    with (ROOT / "build" / "bench" / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.exit("Another run of bench/run.py is under way: wait for its end.")
        yield


def measure(arguments: argparse.Namespace) -> None:
    settings = {name: getattr(arguments, name) for name in ("rounds", "seconds", "filter")}
    settings["commit"] = history.commit()
    folder = ROOT / "build" / "bench" / arguments.suite
    open_run(folder, settings, arguments.fresh)
    steps = steps_of(arguments.suite, folder, arguments.rounds)
    waiting = [step for step in steps if not step.is_done()]
    for number, step in enumerate(waiting[: arguments.steps], len(steps) - len(waiting) + 1):
        began = time.monotonic()
        print(f"== {number} of {len(steps)}: round {step.round}, {step.library}, {step.program.name}", flush=True)
        take(step, ["--filter", arguments.filter, "--seconds", str(arguments.seconds)], arguments.timeout)
        print(f"== {time.monotonic() - began:.0f} s", flush=True)
    if all(step.is_done() for step in steps):
        results = report(arguments.suite, steps, settings)
        (folder / "settings.json").unlink()  # finished: the next run is a new one
        plot(results / f"{arguments.suite}.json")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suite", choices=sorted(SUITES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="how long each row is measured, in each round")
    parser.add_argument("--filter", default="", help="only rows whose name contains this; no record")
    parser.add_argument("--steps", type=int, default=sys.maxsize, help="stop after so many programs")
    parser.add_argument("--fresh", action="store_true", help="begin anew instead of going on")
    parser.add_argument("--timeout", type=float, default=1800, help="seconds after which a program counts as failed")
    return parser.parse_args()


def open_run(folder: pathlib.Path, settings: dict[str, Any], fresh: bool) -> None:
    """Goes on with the run in the folder if it has the same settings and is not finished; else empties the folder."""
    file = folder / "settings.json"
    if fresh or not file.exists() or json.loads(file.read_text()) != settings:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        file.write_text(json.dumps(settings))


def report(suite: str, steps: list[Step], settings: dict[str, Any]) -> pathlib.Path:
    """Prints the table. It goes to bench/results, with a record in the history, if nothing was left out."""
    failures = {step.library: step.error.read_text() for step in steps if step.error.exists()}
    values = table.collect([(step.library, step.rows) for step in steps if step.rows.exists()])
    summary = table.summarise(values, failures, bounds(suite, whole=not settings["filter"]))
    results = steps[0].folder if settings["filter"] else history.RESULTS
    results.mkdir(exist_ok=True)
    text = "\n".join(table.lines(summary))
    print(text)
    (results / f"{suite}.txt").write_text(text + "\n")
    record = history.record(suite, settings, summary)
    full = {**record, "entries": [dataclasses.asdict(one) for one in summary.entries]}
    (results / f"{suite}.json").write_text(json.dumps(full, indent=1) + "\n")
    if not settings["filter"]:
        history.append(record)
    return results


def bounds(suite: str, *, whole: bool) -> dict[str, dict[str, targets.Bound]]:
    """Those of Ray's rows; what is said of all rows together holds only if all were measured."""
    found = targets.load() if suite == "vs_ray" else {}
    return found if whole else {row: bound for row, bound in found.items() if row != targets.OVERALL}


def plot(summary: pathlib.Path) -> None:
    """In an environment of its own, because nothing else here needs Matplotlib."""
    program = ROOT / "bench" / "compare" / "plots.py"
    subprocess.run([str(environments.python("plots")), str(program), str(summary)], check=True)


if __name__ == "__main__":
    main()
