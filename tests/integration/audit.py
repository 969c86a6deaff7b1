"""The leak audit: what a test may not leave behind.

    before = Snapshot.take()
    ...                                   # start and kill things
    before.assert_clean_again()           # within two seconds

Looks at the whole machine, not at what Shoal says of itself: processes of Shoal (by executable, module or runtime directory),
zombies below this process, memfds named by Shoal, unix sockets and directories. Whoever existed before is not counted.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import threading
import time
from collections.abc import Callable

WITHIN_S = 2.0
SLOWNESS = 5 if os.environ.get("SHOAL_SANITIZE") else 1  # of everything, in a build with sanitizers


def wait_until(condition: Callable[[], object], timeout_s: float, what: str) -> None:
    """Polls until `condition()` is true; fails with `what` if it never is."""
    pause = threading.Event()
    timeout_s *= SLOWNESS
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s} s: {what}")
        pause.wait(0.01)


def _read(path: pathlib.Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _stat(pid: int) -> tuple[str, int]:
    """State letter and parent of a process; ("", 0) if it is gone."""
    text = _read(pathlib.Path(f"/proc/{pid}/stat")).decode(errors="replace")
    if not text:
        return "", 0
    fields = text.rsplit(")", 1)[1].split()
    return fields[0], int(fields[1])


def pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def command_of(pid: int) -> str:
    return _read(pathlib.Path(f"/proc/{pid}/cmdline")).replace(b"\0", b" ").decode(errors="replace").strip()


def is_shoal(pid: int) -> bool:
    """The native binary, the zygote, or a worker of either language."""
    try:
        if os.path.basename(os.readlink(f"/proc/{pid}/exe")).split(" ")[0] == "shoal":
            return True
    except OSError:
        return False
    if "shoal._internal" in command_of(pid):
        return True
    return b"SHOAL_WORKER_ID=" in _read(pathlib.Path(f"/proc/{pid}/environ"))


def processes() -> set[int]:
    return {pid for pid in pids() if pid != os.getpid() and _stat(pid)[0] not in ("", "Z") and is_shoal(pid)}


def descendants(root: int) -> set[int]:
    parents = {pid: _stat(pid)[1] for pid in pids()}
    found: set[int] = set()
    while True:
        more = {pid for pid, parent in parents.items() if (parent == root or parent in found) and pid not in found}
        if not more:
            return found
        found |= more


def zombies() -> set[int]:
    return {pid for pid in descendants(os.getpid()) if _stat(pid)[0] == "Z"}


def memfds() -> set[tuple[int, str]]:
    found = set()
    for pid in pids():
        try:
            names = os.listdir(f"/proc/{pid}/fd")
        except OSError:
            continue
        for name in names:
            try:
                target = os.readlink(f"/proc/{pid}/fd/{name}")
            except OSError:
                continue
            if target.startswith("/memfd:shoal"):
                found.add((pid, target))
    return found


def sockets() -> set[str]:
    lines = _read(pathlib.Path("/proc/net/unix")).decode(errors="replace").splitlines()[1:]
    return {fields[7] for line in lines if len(fields := line.split()) > 7 and "shoal" in fields[7]}


def directories() -> set[str]:
    roots = [pathlib.Path("/tmp"), pathlib.Path("/dev/shm"), pathlib.Path(os.environ.get("XDG_RUNTIME_DIR", "/nowhere"))]
    return {str(path) for root in roots if root.is_dir() for path in root.glob("shoal-*/*")}


@dataclasses.dataclass(frozen=True)
class Snapshot:
    processes: set[int]
    zombies: set[int]
    memfds: set[tuple[int, str]]
    sockets: set[str]
    directories: set[str]

    @staticmethod
    def take() -> Snapshot:
        return Snapshot(processes(), zombies(), memfds(), sockets(), directories())

    def leaks(self) -> list[str]:
        now = Snapshot.take()
        found = [f"process {pid}: {command_of(pid)}" for pid in sorted(now.processes - self.processes)]
        found += [f"zombie {pid}" for pid in sorted(now.zombies - self.zombies)]
        found += [f"{name} in process {pid}" for pid, name in sorted(now.memfds - self.memfds)]
        found += [f"socket {name}" for name in sorted(now.sockets - self.sockets)]
        found += [f"directory {name}" for name in sorted(now.directories - self.directories)]
        return found

    def assert_clean_again(self, within_s: float = WITHIN_S) -> None:
        try:
            wait_until(lambda: not self.leaks(), within_s, "clean")
        except AssertionError:
            left = self.leaks()
            if left:
                raise AssertionError(f"left behind after {within_s} s:\n  " + "\n  ".join(left)) from None
