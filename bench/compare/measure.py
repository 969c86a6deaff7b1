"""How a row is measured, the same for every library."""

from __future__ import annotations

import argparse
import json
import math
import pathlib
import statistics
import time
from collections.abc import Callable

LEAST_CALLS = 100  # of which a p99 is the second longest

Rows = dict[str, dict[str, float]]


def parser(doc: str | None, libraries: list[str]) -> argparse.ArgumentParser:
    """The arguments that every program with rows takes."""
    made = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("library", choices=libraries)
    made.add_argument("--json", type=pathlib.Path, required=True, help="where the rows are written")
    made.add_argument("--filter", default="", help="only rows whose name contains this")
    made.add_argument("--seconds", type=float, default=1.0, help="how long each row is measured at least")
    return made


class Bench:
    """Measures rows and collects them in `rows`."""

    def __init__(self, only: str, seconds: float) -> None:
        self.only, self.seconds = only, seconds
        self.rows: Rows = {}

    def wants(self, name: str) -> bool:
        return self.only in name

    def rate(self, name: str, call: Callable[[], object], multiplier: float = 1) -> None:
        """Records how often per second `call` runs, times `multiplier`."""
        if not self.wants(name):
            return
        call()
        rates: list[float] = []
        total = 0.0
        while total < self.seconds or len(rates) < 3:
            count, began = 0, time.perf_counter()
            while True:
                call()
                count += 1
                elapsed = time.perf_counter() - began
                if elapsed > self.seconds / 4:
                    break
            rates.append(count * multiplier / elapsed)
            total += elapsed
        self.rows[name] = {"per_second": statistics.median(rates), "best": max(rates)}
        print(f"{name}: {statistics.median(rates):,.1f}/s", flush=True)

    def latency(self, name: str, call: Callable[[], object]) -> None:
        """Records the rate of single calls and how their times are distributed, in microseconds."""
        if not self.wants(name):
            return
        for _ in range(20):
            call()
        times: list[float] = []
        began = time.perf_counter()
        while time.perf_counter() - began < self.seconds or len(times) < LEAST_CALLS:
            start = time.perf_counter()
            call()
            times.append(time.perf_counter() - start)
        row = self.rows[name] = distribution(times)
        print(f"{name}: {', '.join(f'{figure} {value:,.1f}' for figure, value in row.items())}", flush=True)

    def write(self, path: pathlib.Path) -> None:
        path.write_text(json.dumps(self.rows, indent=1))


def distribution(times: list[float]) -> dict[str, float]:
    """The rate, the number and the percentiles (nearest rank) of times in seconds."""
    ordered = sorted(times)

    def percentile(share: float) -> float:
        return ordered[max(math.ceil(len(ordered) * share) - 1, 0)] * 1e6

    shares = {"p50_us": 0.5, "p90_us": 0.9, "p99_us": 0.99, "p999_us": 0.999, "max_us": 1.0}
    figures = {figure: percentile(share) for figure, share in shares.items()}
    return {"per_second": len(ordered) / sum(ordered), **figures, "samples": len(ordered)}
