"""The wheel carries everything: package, extension, types and the program."""

import pathlib
import subprocess
import sys
import zipfile

import pytest

ROOT = pathlib.Path(__file__).parents[2]

pytestmark = pytest.mark.slow


def run(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
    return done.stdout


def test_a_wheel_works_in_a_fresh_environment(tmp_path):
    run(sys.executable, "-m", "pip", "wheel", str(ROOT), "--no-deps", "-w", str(tmp_path), timeout=3000)
    (wheel,) = tmp_path.glob("shoal-*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"shoal/bin/shoal", "shoal/__init__.py", "shoal/py.typed", "shoal/_shoal.pyi"} <= names
    assert any(name.startswith("shoal/_shoal.") and name.endswith(".so") for name in names)

    environment = tmp_path / "venv"
    run(sys.executable, "-m", "venv", str(environment))
    run(str(environment / "bin" / "pip"), "install", "-q", str(wheel), "numpy", timeout=600)
    clean = {"PATH": f"{environment / 'bin'}:/usr/bin:/bin"}
    assert "shoal" in run(str(environment / "bin" / "shoal"), "--version", env=clean, cwd=tmp_path)
    example = ROOT / "examples" / "python" / "tasks.py"
    assert "3.14" in run(str(environment / "bin" / "python"), str(example), env=clean, cwd=tmp_path, timeout=120)
