"""Finds the program `shoal` and runs it for a driver that wants a runtime of its own."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import pathlib
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from typing import IO, Any

from shoal import _shoal

_READY_TIMEOUT = 60.0
_MOST_ARGUMENT = (128 << 10) - 1  # bytes that Linux passes to a program in one argument


def find_binary() -> str:
    """$SHOAL_BINARY, the one in this package, the one of the build tree around the extension, or the one in $PATH."""
    named = os.environ.get("SHOAL_BINARY")
    if named:
        if not os.access(named, os.X_OK):
            raise FileNotFoundError(f"SHOAL_BINARY names {named}, which is no program: correct or unset it.")
        return named
    package = pathlib.Path(__file__).parent.parent / "bin" / "shoal"
    extension = _shoal.__file__
    built = pathlib.Path(extension).parents[2] / "runtime" / "bin" / "shoal"
    for candidate in (package, built):
        if os.access(candidate, os.X_OK) and candidate.is_file():
            return str(candidate)
    found = shutil.which("shoal")
    # The console script of the same name would only look for the program again.
    if found and not _is_console_script(found):
        return found
    raise FileNotFoundError("The program `shoal` was not found: set SHOAL_BINARY to its path.")


def _is_console_script(path: str) -> bool:
    with open(path, "rb") as file:
        return file.read(2) == b"#!"


def main() -> None:
    """The console script `shoal`: becomes the program of that name."""
    try:
        binary = find_binary()
    except FileNotFoundError as error:
        sys.exit(str(error))
    os.environ.setdefault("SHOAL_PYTHON", sys.executable)
    os.execv(binary, [binary, *sys.argv[1:]])


_STOP_SECONDS = 30  # more than its own limits add up to


class LocalRuntime:
    """A head and a raylet on this machine that end with this process, or by stop()."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._command = [find_binary(), *_arguments(options)]
        self.info: dict[str, Any] = {}
        ready_read, ready_write = os.pipe()
        life_read, self._life = os.pipe()
        with tempfile.TemporaryFile() as errors:
            try:
                command = [*self._command, "--ready-fd", str(ready_write), "--life-fd", str(life_read)]
                # A session of its own, so that Ctrl-C reaches the driver alone.
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=errors,
                    env=_environment(),
                    pass_fds=(ready_write, life_read),
                    start_new_session=True,
                )
            except BaseException:
                for descriptor in (ready_write, life_read, ready_read, self._life):
                    os.close(descriptor)
                raise
            os.close(ready_write)
            os.close(life_read)
            try:
                with os.fdopen(ready_read, "rb", buffering=0) as ready:
                    self.info = json.loads(_read_line(ready))
                if "error" in self.info:
                    raise ValueError(self.info["error"])
            except (OSError, ValueError) as error:
                self.stop()
                raise RuntimeError(self._failure(errors, error)) from None
            except BaseException:  # Ctrl-C while it starts
                self.stop()
                raise

    def _failure(self, errors: IO[bytes], error: Exception) -> str:
        if "error" in self.info:  # in its own words
            return f"The runtime did not start: {error}"
        errors.seek(0)
        lines = errors.read().decode(errors="replace").strip().splitlines()
        reason = lines[-1] if lines else f"{error}, with status {self._process.returncode} and without a word"
        return f"{' '.join(self._command)} did not start a runtime: {reason}"

    @property
    def raylet_socket(self) -> str:
        """Where drivers connect."""
        return str(self.info["raylet_socket"])

    def is_cut_off(self) -> bool:
        """True if the program has closed descriptors that are not its own, surely those of the connection too."""
        try:
            os.fstat(self._life)
        except OSError:
            return True
        return False

    def stop(self) -> None:
        """Ends everything that was started and waits for the end."""
        self.abandon()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:  # stopped, or stuck in the kernel: what it started ends with it
            self._process.kill()
            self._process.wait()
        # One that was killed could not do this itself.
        directory = self.info.get("runtime_dir")
        if directory:
            shutil.rmtree(directory, ignore_errors=True)

    def abandon(self) -> None:
        """In a forked child: the runtime belongs to the parent and must not outlive it because of this process."""
        if self._life >= 0:
            with contextlib.suppress(OSError):
                os.close(self._life)
            self._life = -1


def _environment() -> dict[str, str]:
    """This process's, such that the zygote finds this package too."""
    package = str(pathlib.Path(__file__).parents[2])
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    if package not in paths and "site-packages" not in package:
        paths.append(package)
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)} if paths else dict(os.environ)


def _read_line(ready: IO[bytes]) -> bytes:
    line = b""
    deadline = time.monotonic() + _READY_TIMEOUT
    while not line.endswith(b"\n"):
        readable, _, _ = select.select([ready], [], [], max(deadline - time.monotonic(), 0))
        if not readable:
            raise OSError(f"it was not ready after {_READY_TIMEOUT:.0f} s")
        part = ready.read(65536)
        if not part:
            raise OSError("it ended before it was ready")
        line += part
    return line


def _arguments(options: Mapping[str, Any]) -> list[str]:
    arguments = ["start", "--head", "--local", "--python", sys.executable]
    for option in ("num_cpus", "num_gpus", "object_store_memory"):
        value = options.get(option)
        if value is not None:
            text = str(int(value)) if float(value) == int(value) else repr(float(value))
            arguments += [f"--{option.replace('_', '-')}", text]
    if options.get("resources"):
        resources = {name: float(amount) for name, amount in options["resources"].items()}
        arguments += ["--resources", json.dumps(resources)]
    if options.get("labels"):
        arguments += ["--labels", ",".join(f"{key}={value}" for key, value in options["labels"].items())]
    for option, text in itertools.pairwise(arguments):
        size = len(os.fsencode(text))
        if size > _MOST_ARGUMENT:
            name = option.removeprefix("--")
            raise ValueError(f"{name} takes {size} bytes when written out, {_MOST_ARGUMENT} at most.")
    return arguments


def resolve_address(address: str) -> str:
    """The raylet's socket that an address means: itself, or raylet.sock in a runtime directory."""
    if os.path.isdir(address):
        return os.path.join(address, "raylet.sock")
    if os.path.exists(address):
        return address
    if address.startswith("ray://"):
        raise ValueError(
            "Ray Client (ray://) is not supported: call init() on a machine of the cluster (`shoal start`)."
        )
    if ":" in address and "/" not in address:
        raise ValueError(
            f"init() joins a raylet of this machine, not {address!r} itself: start one first with "
            f"`shoal start --address {address} --token TOKEN` (see `shoal token create`), then call "
            'init(address="auto").'
        )
    raise ConnectionError(f"There is no raylet at {address!r}: start one with `shoal start`, or leave the address out.")


def running_here() -> str | None:
    """The directory of the runtime that `shoal start` has started for this user and machine, if it runs."""
    directory = default_runtime_directory()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        try:
            probe.connect(os.path.join(directory, "raylet.sock"))
        except BlockingIOError:  # busy, so there
            pass
        except OSError:
            return None
    return directory


def default_runtime_directory() -> str:
    """Where `shoal start` puts a runtime unless told otherwise (runtime/io/runtime_directory.h)."""
    named = os.environ.get("SHOAL_RUNTIME_DIR")
    if named:
        return named
    base = os.environ.get("XDG_RUNTIME_DIR")
    return os.path.join(base, "shoal", "default") if base else f"/tmp/shoal-{os.geteuid()}/default"
