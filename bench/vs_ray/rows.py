"""All rows of `ray microbenchmark` but those of Ray Client, and a few it lacks, over the API that Ray and Shoal share.

    python rows.py ray|shoal --json OUT [--filter TEXT] [--seconds 1.0]

Row names and definitions are those of Ray's microbenchmark, so that the numbers can be compared with published ones.
Each row runs once to warm up and then in rounds for at least `--seconds`; the best and the median round are recorded.
Rows of single calls record the distribution of their times, and are repeated "under load": while another driver
(load.py) submits tasks to the same runtime.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import pathlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from compare import measure  # noqa: E402

CPUS = max((os.cpu_count() or 2) // 2, 1)
OPTIONS: dict[str, dict[str, Any]] = {
    "ray": {"include_dashboard": False, "configure_logging": True, "logging_level": "error"},
    "shoal": {},
}
# What init() calls the address that a second driver on this machine passes to it.
ADDRESS = {"ray": "address", "shoal": "raylet_socket"}


def main() -> None:
    arguments = measure.parser(__doc__, ["ray", "shoal"]).parse_args()
    began = time.perf_counter()
    lib = importlib.import_module(arguments.library)
    imported = time.perf_counter()
    context = lib.init(address="local", num_cpus=os.cpu_count(), log_to_driver=False, **OPTIONS[arguments.library])
    initialized = time.perf_counter()
    first = lib.remote(lambda: b"ok")
    lib.get(first.remote())
    bench = Bench(arguments.filter, arguments.seconds, lib, context.address_info[ADDRESS[arguments.library]])
    bench.rows |= {
        "import": {"seconds": imported - began},
        "init": {"seconds": initialized - imported},
        "init to first result": {"seconds": time.perf_counter() - imported},
    }
    object_rows(lib, bench)
    task_rows(lib, bench)
    actor_rows(lib, bench)
    async_actor_rows(lib, bench)
    placement_group_rows(lib, bench)
    began = time.perf_counter()
    lib.shutdown()
    bench.rows["shutdown"] = {"seconds": time.perf_counter() - began}
    bench.write(arguments.json)


class Bench(measure.Bench):
    def __init__(self, only: str, seconds: float, lib: Any, address: str) -> None:
        super().__init__(only, seconds)
        self.lib, self.address = lib, address

    def latency(self, name: str, call: Callable[[], object]) -> None:
        """As in the base, idle and under load."""
        super().latency(name, call)
        loaded = f"{name} under load"
        if self.wants(loaded):
            with self.load() as load:
                super().latency(loaded, call)
            self.rows[loaded] |= load

    @contextlib.contextmanager
    def load(self) -> Iterator[dict[str, float]]:
        """Runs load.py meanwhile; afterwards the dict holds what it got through."""
        command = [sys.executable, str(HERE / "load.py"), self.lib.__name__, self.address]
        result: dict[str, float] = {}
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout
            if process.stdout.readline() != "running\n":
                raise RuntimeError("the driver that makes load has not started")
            yield result
            output, _ = process.communicate()
            result["load_per_second"] = float(output)


def memcpy_row(bench: Bench) -> None:
    """What this machine copies at most: between two arrays whose pages are there."""
    name = "memcpy into warm memory (put gigabytes)"
    if bench.wants(name):
        source, target = np.ones(100 * 1024 * 1024, dtype=np.int64), np.ones(100 * 1024 * 1024, dtype=np.int64)
        bench.rate(name, lambda: np.copyto(target, source), 0.8)


def object_rows(lib, bench: Bench) -> None:
    get, put = lib.get, lib.put

    @lib.remote
    def put_small() -> None:
        for _ in range(100):
            lib.put(0)

    @lib.remote
    def put_large() -> None:
        array = np.zeros(10 * 1024 * 1024, dtype=np.int64)
        for _ in range(10):
            lib.put(array)

    value = put(0)
    bench.rate("single client get calls", lambda: get(value))
    bench.rate("single client put calls", lambda: put(0))
    bench.rate("multi client put calls", lambda: get([put_small.remote() for _ in range(10)]), 1000)
    if bench.wants("single client put gigabytes"):
        array = np.zeros(100 * 1024 * 1024, dtype=np.int64)
        bench.rate("single client put gigabytes", lambda: put(array), 0.8)
        del array
    memcpy_row(bench)
    bench.rate("multi client put gigabytes", lambda: get([put_large.remote() for _ in range(10)]), 8)
    if bench.wants("single client get object containing 10k refs"):
        refs = put([put(1) for _ in range(10_000)])
        bench.rate("single client get object containing 10k refs", lambda: get(refs))


def task_rows(lib, bench: Bench) -> None:
    get = lib.get

    @lib.remote
    def small_value() -> bytes:
        return b"ok"

    @lib.remote
    def small_value_with_arg(x: object) -> bytes:
        return b"ok"

    @lib.remote
    class Submitter:
        def run(self, count: int) -> None:
            lib.get([small_value.remote() for _ in range(count)])

    def wait_one_by_one() -> None:
        waiting = [small_value.remote() for _ in range(1000)]
        while waiting:
            _, waiting = lib.wait(waiting)

    bench.rate("single client wait 1k refs", wait_one_by_one)
    bench.latency("single client tasks sync", lambda: get(small_value.remote()))
    bench.rate("single client tasks async", lambda: get([small_value.remote() for _ in range(1000)]), 1000)
    bench.rate("single client tasks and get batch", lambda: get([small_value.remote() for _ in range(1000)]))
    bench.rate("tasks with value arg async", lambda: get([small_value_with_arg.remote(1) for _ in range(1000)]), 1000)
    if bench.wants("tasks with ref arg async"):
        ref = lib.put(1)
        bench.rate(
            "tasks with ref arg async", lambda: get([small_value_with_arg.remote(ref) for _ in range(1000)]), 1000
        )
    if bench.wants("multi client tasks async"):
        submitters = [Submitter.remote() for _ in range(4)]
        bench.rate("multi client tasks async", lambda: get([s.run.remote(10_000) for s in submitters]), 40_000)


def make_actors(lib):
    @lib.remote(num_cpus=0)
    class Actor:
        def small_value(self) -> bytes:
            return b"ok"

        def small_value_arg(self, x: object) -> bytes:
            return b"ok"

    @lib.remote
    class Client:
        def __init__(self, servers: list) -> None:
            self.servers = servers if isinstance(servers, list) else [servers]

        def small_value_batch(self, count: int) -> None:
            lib.get([s.small_value.remote() for s in self.servers for _ in range(count)])

        def small_value_batch_arg(self, count: int) -> None:
            x = lib.put(0)
            lib.get([s.small_value_arg.remote(x) for s in self.servers for _ in range(count)])

    return Actor, Client


def one_to_one_rows(bench: Bench, actor) -> None:
    get = bench.lib.get
    bench.latency("1:1 actor calls sync", lambda: get(actor.small_value.remote()))
    bench.rate("1:1 actor calls async", lambda: get([actor.small_value.remote() for _ in range(1000)]), 1000)
    bench.rate(
        "1:1 actor calls with value arg async",
        lambda: get([actor.small_value_arg.remote(1) for _ in range(1000)]),
        1000,
    )


def actor_rows(lib, bench: Bench) -> None:
    get = lib.get
    Actor, Client = make_actors(lib)

    @lib.remote
    def work(actors: list) -> None:
        lib.get([actors[i % len(actors)].small_value.remote() for i in range(5000)])

    one_to_one_rows(bench, Actor.remote())
    if bench.wants("1:1 actor calls concurrent"):
        concurrent = Actor.options(max_concurrency=16).remote()
        bench.rate(
            "1:1 actor calls concurrent", lambda: get([concurrent.small_value.remote() for _ in range(1000)]), 1000
        )
        del concurrent
    if bench.wants("1:n actor calls async"):
        client = Client.remote([Actor.remote() for _ in range(CPUS)])
        bench.rate("1:n actor calls async", lambda: get(client.small_value_batch.remote(5000)), 5000 * CPUS)
        del client
    if bench.wants("n:n actor calls async"):
        actors = [Actor.remote() for _ in range(CPUS)]
        bench.rate("n:n actor calls async", lambda: get([work.remote(actors) for _ in range(4)]), 20_000)
        del actors
    if bench.wants("n:n actor calls with arg async"):
        clients = [Client.remote(Actor.remote()) for _ in range(CPUS)]
        bench.rate(
            "n:n actor calls with arg async",
            lambda: get([c.small_value_batch_arg.remote(1000) for c in clients]),
            1000 * CPUS,
        )


def one_to_one_async_rows(bench: Bench, actor) -> None:
    get = bench.lib.get
    bench.latency("1:1 async-actor calls sync", lambda: get(actor.small_value.remote()))
    bench.rate("1:1 async-actor calls async", lambda: get([actor.small_value.remote() for _ in range(1000)]), 1000)
    bench.rate(
        "1:1 async-actor calls with args async",
        lambda: get([actor.small_value_with_arg.remote(i) for i in range(1000)]),
        1000,
    )


def async_actor_rows(lib, bench: Bench) -> None:
    get = lib.get

    @lib.remote
    class AsyncActor:
        async def small_value(self) -> bytes:
            return b"ok"

        async def small_value_with_arg(self, x: object) -> bytes:
            return b"ok"

    @lib.remote(num_cpus=0)
    class AsyncClient:
        def __init__(self, servers: list) -> None:
            self.servers = servers

        def batch(self, count: int) -> None:
            lib.get([s.small_value.remote() for s in self.servers for _ in range(count)])

    @lib.remote
    def async_work(actors: list) -> None:
        lib.get([actors[i % len(actors)].small_value.remote() for i in range(5000)])

    one_to_one_async_rows(bench, AsyncActor.remote())
    if bench.wants("1:n async-actor calls async"):
        client = AsyncClient.remote([AsyncActor.remote() for _ in range(CPUS)])
        bench.rate("1:n async-actor calls async", lambda: get(client.batch.remote(5000)), 5000 * CPUS)
        del client
    if bench.wants("n:n async-actor calls async"):
        actors = [AsyncActor.remote() for _ in range(CPUS)]
        bench.rate("n:n async-actor calls async", lambda: get([async_work.remote(actors) for _ in range(4)]), 20_000)


def placement_group_rows(lib, bench: Bench) -> None:
    util = importlib.import_module(f"{lib.__name__}.util.placement_group")

    def create_and_remove() -> None:
        groups = [util.placement_group([{"CPU": 0.001}]) for _ in range(100)]
        for group in groups:
            group.wait(timeout_seconds=60)
        for group in groups:
            util.remove_placement_group(group)

    bench.rate("placement group create/removal", create_and_remove, 100)


if __name__ == "__main__":
    main()
