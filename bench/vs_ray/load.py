"""A driver that keeps a runtime busy with tasks while another one measures.

    python load.py ray|shoal ADDRESS

Submits batches of 1,000 tasks and waits for each, until its stdin is closed. Prints "running" after the first batch,
and at the end how many tasks per second it got through.
"""

from __future__ import annotations

import importlib
import select
import sys
import time

BATCH = 1000


def main() -> None:
    lib = importlib.import_module(sys.argv[1])
    lib.init(address=sys.argv[2], log_to_driver=False, logging_level="error")

    @lib.remote
    def small_value() -> bytes:
        return b"ok"

    def batch() -> None:
        lib.get([small_value.remote() for _ in range(BATCH)])

    batch()
    print("running", flush=True)
    count, began = 0, time.perf_counter()
    while not select.select([sys.stdin], [], [], 0)[0]:
        batch()
        count += BATCH
    print(count / (time.perf_counter() - began))
    lib.shutdown()


if __name__ == "__main__":
    main()
