"""The systems, and a running program of one that computes graphs on request (requests.h)."""

from __future__ import annotations

import os
import pathlib
import shutil
import signal
import subprocess
import threading
from dataclasses import dataclass

from graph import PROGRAMS, ROOT

HERE = ROOT / "bench/metg"
RELEASE = ROOT / "build/release"
LOGS = ROOT / "build/metg"
ANSWER_SECONDS_MAX = 60


@dataclass(frozen=True)
class System:
    name: str
    label: str
    python: str = ""  # the environment under build/ that has the library; "": a C++ program

    def command(self, cores: int, width: int) -> list[str]:
        sizes = [str(cores), str(width)]
        if self.python:
            return [str(ROOT / "build" / self.python / "bin/python"), str(HERE / "systems.py"), self.name, *sizes]
        program = [str(PROGRAMS / f"metg_{self.name.removesuffix('-cpp')}"), *sizes]
        if self.name != "mpi":
            return program
        return ["mpirun", "-n", str(cores), "--bind-to", "core", "--mca", "btl", "self,vader", *program]

    def missing(self) -> str | None:
        """The first file that is needed and is not there."""
        needed = [word for word in self.command(1, 1) if word.startswith("/")]
        absent = [file for file in needed if not pathlib.Path(file).exists()]
        if self.name == "mpi" and not shutil.which("mpirun"):
            absent.append("mpirun")
        return absent[0] if absent else None


SYSTEMS = [
    System("threads", "std::thread"),
    System("mpi", "OpenMPI"),
    System("shoal-cpp", "Shoal C++ tasks"),
    System("shoal-tasks", "Shoal Python tasks", "venv"),
    System("shoal-actors", "Shoal Python actors", "venv"),
    System("pool", "ProcessPoolExecutor", "venv"),
    System("dask", "Dask distributed", "peers"),
    System("ray-tasks", "Ray tasks", "ray"),
]


def environment() -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": f"{RELEASE / 'python'}:{HERE}",
        "PYTHONDONTWRITEBYTECODE": "1",
        "SHOAL_BINARY": str(RELEASE / "runtime/bin/shoal"),
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    }


class Session:
    """A program of one system, from its start to its end; a context manager."""

    def __init__(self, system: System, cores: int, width: int) -> None:
        LOGS.mkdir(parents=True, exist_ok=True)
        self.system = system
        self.log = LOGS / f"{system.name}.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                system.command(cores, width),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=environment(),
                start_new_session=True,
            )

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *error: object) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        watchdog = self._watchdog()
        self.process.wait()
        watchdog.cancel()

    def run(self, pattern: str, steps: int, iterations: int) -> tuple[float, int]:
        """Computes a graph; returns the seconds it took and the leaves' sum."""
        assert self.process.stdin and self.process.stdout
        watchdog = self._watchdog()
        try:
            self.process.stdin.write(f"{pattern} {steps} {iterations}\n")
            self.process.stdin.flush()
            seconds, checksum = self.process.stdout.readline().split()
        except (OSError, ValueError):
            raise RuntimeError(f"{self.system.label} gave no answer: see {self.log}") from None
        finally:
            watchdog.cancel()
        return float(seconds), int(checksum)

    def _watchdog(self) -> threading.Timer:
        watchdog = threading.Timer(ANSWER_SECONDS_MAX, os.killpg, (self.process.pid, signal.SIGKILL))
        watchdog.start()
        return watchdog
