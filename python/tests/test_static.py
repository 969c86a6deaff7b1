"""The package is what its types and its style say."""

import os
import pathlib
import subprocess
import sys

import pytest

import shoal

ROOT = pathlib.Path(__file__).parents[2]
BIN = pathlib.Path(sys.executable).parent


def run(*command, **env):
    # What a build with sanitizers preloads is for our programs alone.
    env = {**os.environ, "LD_PRELOAD": "", **env}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=env, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


def test_ruff():
    run(str(BIN / "ruff"), "check", "--no-cache", "python", "bench", "examples/python")


def test_ruff_format():
    run(str(BIN / "ruff"), "format", "--check", "--no-cache", "python", "bench", "examples/python")


@pytest.mark.slow
def test_mypy(tmp_path):
    run(str(BIN / "mypy"), "--cache-dir", str(tmp_path))


@pytest.mark.slow
def test_the_stubs_match_the_extension(tmp_path):
    allowlist = ROOT / "python" / "tests" / "stubtest_allowlist.txt"
    run(
        str(BIN / "stubtest"),
        "--mypy-config-file",
        "pyproject.toml",
        "--allowlist",
        str(allowlist),
        "shoal._shoal",
        MYPYPATH=str(ROOT / "python"),
        MYPY_CACHE_DIR=str(tmp_path),
    )


def test_all_public_names_exist_and_are_documented():
    for name in shoal.__all__:
        assert getattr(shoal, name).__doc__, name
