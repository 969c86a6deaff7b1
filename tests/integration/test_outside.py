"""A C++ project outside the tree finds an installed Shoal, builds and runs."""

from __future__ import annotations

import os
import pathlib
import subprocess

from shoal._internal.launch import find_binary

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


def test_a_project_outside_the_tree_builds_and_runs(tmp_path: pathlib.Path) -> None:
    # What a build with sanitizers preloads into Python is not for build tools, and the program has it linked in.
    env = {**os.environ, "LD_PRELOAD": ""}
    binary = pathlib.Path(find_binary()).resolve()
    build = binary.parent.parent.parent
    subprocess.run(["cmake", "--install", str(build), "--prefix", str(tmp_path / "shoal")], check=True, capture_output=True, env=env)
    configure = ["cmake", "-S", str(ROOT / "examples/outside"), "-B", str(tmp_path / "build"), "-G", "Ninja",
                 f"-DCMAKE_PREFIX_PATH={tmp_path / 'shoal'}", "-DCMAKE_BUILD_TYPE=Release"]
    if sanitizer := os.environ.get("SHOAL_SANITIZE"):
        configure.append(f"-DCMAKE_CXX_FLAGS=-fsanitize={sanitizer}")
    subprocess.run(configure, check=True, capture_output=True, env=env)
    built = subprocess.run(["cmake", "--build", str(tmp_path / "build")], check=False, capture_output=True, text=True,
                           env=env)
    assert built.returncode == 0, built.stdout[-3000:]
    done = subprocess.run([str(tmp_path / "build/outside")], check=False, capture_output=True, text=True, timeout=120,
                          env={**env, "SHOAL_BINARY": str(binary)})
    assert done.returncode == 0, done.stderr
    assert ") the counter is made\n" in done.stdout
    assert "100000 tasks" in done.stdout and "100000 actor calls" in done.stdout
