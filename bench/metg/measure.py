"""Efficiency of a system over the length of its tasks, and the length at which it is one half."""

from __future__ import annotations

import itertools
import math
import threading
import time
from dataclasses import dataclass

import graph
from session import Session

HALF = 0.5
STEPS_MIN, STEPS_MAX = 8, 100_000
PROBES = 4
FIRST_PROBE_US = 500.0
ITERATIONS_MIN = 5
EXTENSIONS_MAX = 3
CALIBRATION_ITERATIONS = 3_000_000


@dataclass(frozen=True)
class Settings:
    cores: int
    width: int
    seconds: float  # what one run of a graph should take
    factors: tuple[float, ...]  # the sweep's task lengths, as multiples of where METG is expected


@dataclass(frozen=True)
class Sample:
    system: str
    pattern: str
    round: int
    factor: float  # task_us as a multiple of where METG was expected
    task_us: float
    tasks: int
    seconds: float
    efficiency: float


class WrongResult(Exception):
    pass


def calibrate(cores: int, rounds: int = 10) -> float:
    """Nanoseconds of one iteration while all cores are busy: the best that is seen, for others may use the cores."""
    found: list[float] = []

    def burn() -> None:
        began = time.perf_counter()
        graph.point(0, 0, CALIBRATION_ITERATIONS)
        found.append((time.perf_counter() - began) * 1e9 / CALIBRATION_ITERATIONS)

    for _ in range(rounds):
        threads = [threading.Thread(target=burn) for _ in range(cores)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return min(found)


class Meter:
    """Measures one session. It finds out for itself where METG lies: a round that was disturbed spoils no other."""

    def __init__(self, settings: Settings, session: Session, number: int, iteration_ns: float) -> None:
        self.settings, self.session, self.number, self.iteration_ns = settings, session, number, iteration_ns

    def sweep(self, pattern: str) -> list[Sample]:
        centre = self._locate(pattern)
        samples = [self._run(pattern, factor, centre) for factor in self.settings.factors]
        for _ in range(EXTENSIONS_MAX):
            if samples[-1].efficiency < HALF:
                samples.append(self._run(pattern, samples[-1].factor * 2, centre))
            elif samples[0].efficiency >= HALF:
                samples.insert(0, self._run(pattern, samples[0].factor / 2, centre))
        return samples

    def _locate(self, pattern: str) -> float:
        """Where METG should be: if each task costs the same beside its work, it is that cost."""
        expected_us = FIRST_PROBE_US
        for _ in range(PROBES):
            sample = self._run(pattern, 1, expected_us)
            overhead_us = sample.task_us * (1 / sample.efficiency - 1)
            expected_us = max(overhead_us, ITERATIONS_MIN * self.iteration_ns / 1e3)
        return expected_us

    def _run(self, pattern: str, factor: float, expected_us: float) -> Sample:
        settings = self.settings
        step_us = (1 + factor) * expected_us * settings.width / settings.cores
        steps = round(min(max(settings.seconds * 1e6 / step_us, STEPS_MIN), STEPS_MAX))
        iterations = max(round(factor * expected_us * 1e3 / self.iteration_ns), 1)
        seconds, checksum = self.session.run(pattern, steps, iterations)
        asked = graph.Graph(pattern, settings.width, steps, iterations)
        if checksum != asked.checksum():
            raise WrongResult(f"{self.session.system.label}, {pattern}: {checksum} instead of {asked.checksum()}")
        task_us = iterations * self.iteration_ns / 1e3
        efficiency = asked.tasks * task_us / 1e6 / settings.cores / seconds
        return Sample(self.session.system.name, pattern, self.number, factor, task_us, asked.tasks, seconds, efficiency)


def metg(samples: list[Sample]) -> float | None:
    """Where efficiency passes one half for the last time as tasks grow, in microseconds; None if it does not."""
    samples = sorted(samples, key=lambda sample: sample.task_us)
    crossings = [(a, b) for a, b in itertools.pairwise(samples) if a.efficiency < HALF <= b.efficiency]
    if not crossings or samples[-1].efficiency < HALF:
        return None
    a, b = crossings[-1]
    part = (HALF - a.efficiency) / (b.efficiency - a.efficiency)
    return a.task_us * math.pow(b.task_us / a.task_us, part)
