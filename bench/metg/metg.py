"""Minimum effective task granularity of Shoal and its peers (README.md)."""

from __future__ import annotations

import argparse
import os
import pathlib
import time

import graph
import quiet
import report
import session
from measure import Meter, Sample, Settings, calibrate

RESULTS = graph.ROOT / "bench/results"
FACTORS = (0.25, 0.5, 1, 2, 4)
FACTORS_LONG = (0.125, 0.25, 0.5, 0.71, 1, 1.41, 2, 4, 8, 16)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    names = [system.name for system in session.SYSTEMS]
    parser.add_argument("--systems", nargs="+", choices=names, default=names)
    parser.add_argument("--patterns", nargs="+", choices=graph.PATTERNS, default=list(graph.PATTERNS))
    parser.add_argument("--cores", type=int, default=os.cpu_count())
    parser.add_argument("--width", type=int, help="points in a row; four per core if not given")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--quick", action="store_true", help="one round: about a minute")
    length.add_argument("--long", action="store_true", help="seven rounds of longer runs and a finer sweep")
    parser.add_argument("--json", type=pathlib.Path, default=RESULTS / "metg.json", help="the plots lie beside it")
    return parser.parse_args()


def available(names: list[str]) -> list[session.System]:
    found = []
    for system in session.SYSTEMS:
        if system.name in names:
            if missing := system.missing():
                print(f"left out: {system.label} ({missing} is not there)")
            else:
                found.append(system)
    return found


def measure(
    systems: list[session.System], patterns: list[str], settings: Settings, rounds: int
) -> tuple[list[Sample], list[dict[str, object]]]:
    """In each round each system runs once, and another one is first. Returns samples and the state of the machine."""
    samples: list[Sample] = []
    states: list[dict[str, object]] = []
    iteration_ns = calibrate(settings.cores)
    for number in range(rounds):
        first = number * len(systems) // rounds
        for system in systems[first:] + systems[:first]:
            busy = quiet.settle()
            iteration_ns = min(iteration_ns, calibrate(settings.cores))
            began = time.perf_counter()
            with session.Session(system, settings.cores, settings.width) as running:
                meter = Meter(settings, running, number, iteration_ns)
                for pattern in patterns:
                    samples += meter.sweep(pattern)
            seconds = time.perf_counter() - began
            print(f"round {number + 1}: {system.label}, {seconds:.1f} s; machine {busy:.0%} busy before", flush=True)
            states.append({"round": number, "system": system.name, "busy_before": busy, "iteration_ns": iteration_ns})
    return samples, states


def main() -> None:
    arguments = parse()
    rounds = 7 if arguments.long else 1 if arguments.quick else 3
    width = arguments.width or 4 * arguments.cores
    seconds, factors = (0.4, FACTORS_LONG) if arguments.long else (0.15, FACTORS)
    settings = Settings(arguments.cores, width, seconds, factors)
    facts = {"machine": report.machine()}
    systems = available(arguments.systems)
    samples, states = measure(systems, arguments.patterns, settings, rounds)
    report.print_table(report.summary(samples), systems, arguments.patterns)
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    report.write_json(arguments.json, facts | {"sessions": states}, settings, samples)
    report.plot(arguments.json, samples, systems, arguments.patterns)
    print(f"\n{arguments.json} and the plots beside it are written")


if __name__ == "__main__":
    main()
