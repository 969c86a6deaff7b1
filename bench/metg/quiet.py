"""Is the machine free to measure? What the system before left behind, and other people's programs, spoil a session."""

from __future__ import annotations

import pathlib
import time

BUSY_MAX = 0.1
WAIT_SECONDS_MAX = 5
SAMPLE_SECONDS = 0.2


def _ticks() -> tuple[int, int]:
    """Of all CPUs since boot: idle, and in total."""
    fields = [int(field) for field in pathlib.Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return fields[3] + fields[4], sum(fields)


def busy() -> float:
    """The share of the machine that is in use, over a moment."""
    idle, total = _ticks()
    time.sleep(SAMPLE_SECONDS)
    idle_after, total_after = _ticks()
    return 1 - (idle_after - idle) / (total_after - total)


def settle() -> float:
    """Waits until next to nothing runs, but not for long; returns the share of the machine that is in use then."""
    limit = time.monotonic() + WAIT_SECONDS_MAX
    while (share := busy()) > BUSY_MAX and time.monotonic() < limit:
        pass
    return share
