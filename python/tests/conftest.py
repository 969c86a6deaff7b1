"""A runtime for each file of tests that asks for one, and a way to run programs."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator

import pytest

import shoal
from support import children_of


@pytest.fixture(scope="module")
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
    assert not os.path.exists(context["runtime_dir"])


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
