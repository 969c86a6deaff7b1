"""The steps that a comparison consists of: one program of one library in one round, and how one is taken."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import signal
import subprocess
import tempfile

from compare import environments

ROOT = pathlib.Path(__file__).resolve().parents[2]


@dataclasses.dataclass(frozen=True)
class Suite:
    libraries: tuple[str, ...]
    programs: tuple[str, ...]


SUITES = {
    "vs_ray": Suite(("shoal", "ray"), ("rows.py", "idle.py")),
    "vs_peers": Suite(("shoal", "process_pool", "loky", "dask", "parsl", "scaler"), ("rows.py",)),
}


@dataclasses.dataclass(frozen=True)
class Step:
    folder: pathlib.Path  # of the run
    program: pathlib.Path
    library: str
    round: int

    @property
    def rows(self) -> pathlib.Path:
        """What the program has written."""
        return self.file("json")

    @property
    def error(self) -> pathlib.Path:
        """Why it has not."""
        return self.file("error")

    @property
    def log(self) -> pathlib.Path:
        return self.file("stderr")

    def file(self, suffix: str) -> pathlib.Path:
        return self.folder / f"{self.library}.{self.program.stem}.{self.round}.{suffix}"

    def is_done(self) -> bool:
        return self.rows.exists() or self.error.exists()


def steps_of(suite: str, folder: pathlib.Path, rounds: int) -> list[Step]:
    """In the order in which they are taken: round by round, the libraries in turn."""
    return [
        Step(folder, ROOT / "bench" / suite / program, library, number)
        for number in range(1, rounds + 1)
        for library in SUITES[suite].libraries
        for program in SUITES[suite].programs
    ]


def take(step: Step, arguments: list[str], timeout: float) -> None:
    """Runs a step; leaves its rows, or the reason why there are none."""
    try:
        python = environments.python(step.library)
        unfinished = step.file("unfinished")
        run([str(python), str(step.program), step.library, "--json", str(unfinished), *arguments], step.log, timeout)
        unfinished.rename(step.rows)
    except (subprocess.SubprocessError, OSError) as problem:
        step.error.write_text(reason(problem, step.log))
        print(f"{step.library}: {step.error.read_text()}", flush=True)


def run(command: list[str], log: pathlib.Path, timeout: float) -> None:
    """Runs a program in an empty directory. Raises TimeoutExpired or CalledProcessError, with nothing left behind."""
    with log.open("w") as errors, tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as directory:
        process = subprocess.Popen(
            command, cwd=directory, env=environment(command[0], directory), stderr=errors, start_new_session=True
        )
        try:
            status = process.wait(timeout)
        finally:
            if process.returncode != 0:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    if status != 0:
        raise subprocess.CalledProcessError(status, command)


def environment(python: str, directory: str) -> dict[str, str]:
    """Shoal is the release build; programs that a library starts by name are those of its own environment."""
    return {
        **os.environ,
        "PATH": os.pathsep.join([os.path.dirname(python), os.environ.get("PATH", "")]),
        "PYTHONPATH": str(ROOT / "build" / "release" / "python"),
        "SHOAL_RUNTIME_DIR": directory,
    }


def reason(problem: Exception, log: pathlib.Path) -> str:
    """The last line of what went wrong."""
    if isinstance(problem, subprocess.TimeoutExpired):
        return f"did not end within {problem.timeout:.0f} s"
    said = getattr(problem, "stderr", None) or (log.read_text() if log.exists() else "")
    lines = said.strip().splitlines() or [str(problem)]
    return str(lines[-1])[:300]
