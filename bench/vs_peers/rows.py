"""Single calls and batches of 1,000, of tasks and of actors, over one library.

    python rows.py LIBRARY --json OUT [--filter TEXT] [--seconds 1.0]

Run it with the Python that has the library, such as build/peers/dask/bin/python; bench/run.py does so.
"""

from __future__ import annotations

import importlib
import os
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]
# Some libraries start workers as programs of their own; they import `adapter` too.
os.environ["PYTHONPATH"] = os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])

from adapter import Adapter  # noqa: E402
from compare import measure  # noqa: E402

LIBRARIES = sorted(path.stem for path in (HERE / "adapters").glob("[a-z]*.py"))
BATCH = 1000


def rows(adapter: Adapter, bench: measure.Bench) -> None:
    bench.latency("tasks sync", adapter.call)
    bench.rate("tasks async", lambda: adapter.batch(BATCH), BATCH)
    if adapter.has_actors:
        bench.latency("actor calls sync", adapter.actor_call)
        bench.rate("actor calls async", lambda: adapter.actor_batch(BATCH), BATCH)


def main() -> None:
    arguments = measure.parser(__doc__, LIBRARIES).parse_args()
    adapter = importlib.import_module(f"adapters.{arguments.library}").Adapter()
    bench = measure.Bench(arguments.filter, arguments.seconds)
    try:
        rows(adapter, bench)
    finally:
        adapter.close()
    bench.write(arguments.json)


if __name__ == "__main__":
    main()
