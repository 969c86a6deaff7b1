"""One runtime for all tests that need one, and helpers."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator

import pytest

import shoal


def children_of(pid: int) -> dict[int, str]:
    """Descendants of a process, zombies included, with their command lines."""
    parents: dict[int, list[int]] = {}
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except OSError:
                continue
            parents.setdefault(parent, []).append(int(entry.name))
    found: dict[int, str] = {}
    todo = [pid]
    while todo:
        for child in parents.get(todo.pop(), []):
            try:
                found[child] = pathlib.Path(f"/proc/{child}/cmdline").read_text().replace("\0", " ")
            except OSError:
                continue
            todo.append(child)
    return found


@pytest.fixture(scope="session")
def runtime() -> Iterator[shoal._cluster.Context]:
    """A head and a raylet with four CPUs; afterwards nothing of them may be left."""
    context = shoal.init(
        num_cpus=4, resources={"gadget": 2}, namespace="tests", object_store_memory=256 << 20, log_to_driver=False
    )
    yield context
    started = children_of(os.getpid())
    shoal.shutdown()
    left = {pid: command for pid, command in started.items() if os.path.exists(f"/proc/{pid}")}
    assert not left, f"still running after shutdown: {left}"


@pytest.fixture
def run_script(tmp_path: pathlib.Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a program of its own, as a user would."""

    def run(text: str, *, check: bool = True, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        script = tmp_path / "script.py"
        script.write_text(textwrap.dedent(text))
        done = subprocess.run(
            [sys.executable, str(script)],
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
            env={**os.environ, **(env or {})},
        )
        if check:
            assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return done

    return run


def eventually(condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Waits until the condition holds, and fails if it never does."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{condition} did not come true in {seconds} s"
        time.sleep(0.01)
