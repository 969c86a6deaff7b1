"""The Python environment that each library runs in; made from bench/requirements-peers.txt when first needed."""

from __future__ import annotations

import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
REQUIREMENTS = ROOT / "bench" / "requirements-peers.txt"

# What to install for a library; one that is not here runs in the environment of this program.
PACKAGES = {
    "ray": "ray",
    "loky": "loky",
    "dask": "distributed",
    "parsl": "parsl",
    "scaler": "opengris-scaler",
    "plots": "matplotlib",
}


def python(library: str) -> pathlib.Path:
    """The interpreter that has the library. Raises CalledProcessError if it cannot be installed."""
    if library not in PACKAGES:
        return pathlib.Path(sys.executable)
    folder = ROOT / "build" / ("ray" if library == "ray" else f"peers/{library}")
    interpreter = folder / "bin" / "python"
    wanted = requirement(PACKAGES[library])
    if not installed(interpreter, wanted):
        print(f"installing {wanted} into {folder.relative_to(ROOT)}", flush=True)
        subprocess.run(["/usr/bin/python3", "-m", "venv", str(folder)], check=True)
        pip = [str(interpreter), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        subprocess.run([*pip, wanted, "numpy"], check=True, capture_output=True, text=True)
    return interpreter


def requirement(package: str) -> str:
    """The line of requirements-peers.txt for a package."""
    lines = REQUIREMENTS.read_text().splitlines()
    return next(line for line in lines if re.split(r"[\[=]", line)[0] == package)


def installed(interpreter: pathlib.Path, wanted: str) -> bool:
    """True if the environment has the package in that version."""
    package, version = re.sub(r"\[.*\]", "", wanted).split("==")
    code = f"import importlib.metadata as m, sys; sys.exit(m.version({package!r}) != {version!r})"
    if not interpreter.exists():
        return False
    return subprocess.run([interpreter, "-c", code], capture_output=True, check=False).returncode == 0
