"""All rows of `ray microbenchmark` but those of Ray Client, and a few it lacks, over the API that Ray and Shoal share.

    python rows.py ray|shoal --json OUT [--filter TEXT] [--seconds 1.0]

Row names and definitions are those of Ray's microbenchmark, so that the numbers can be compared with published ones. Each row runs
once to warm up and then in rounds for at least `--seconds`; the best and the median round are recorded.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import statistics
import time
from collections.abc import Callable

import numpy as np

STARTED = time.perf_counter()
CPUS = max((os.cpu_count() or 2) // 2, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("library", choices=["ray", "shoal"])
    parser.add_argument("--json", required=True)
    parser.add_argument("--filter", default="")
    parser.add_argument("--seconds", type=float, default=1.0)
    arguments = parser.parse_args()

    began = time.perf_counter()
    lib = importlib.import_module(arguments.library)
    imported = time.perf_counter()
    options = {"num_cpus": os.cpu_count(), "log_to_driver": False}
    if arguments.library == "ray":
        options |= {"include_dashboard": False, "configure_logging": True, "logging_level": "error"}
    lib.init(**options)
    initialized = time.perf_counter()
    first = lib.remote(lambda: b"ok")
    lib.get(first.remote())
    rows: dict[str, dict] = {
        "import": {"seconds": imported - began},
        "init": {"seconds": initialized - imported},
        "init to first result": {"seconds": time.perf_counter() - imported},
    }
    bench = Bench(lib, arguments.filter, arguments.seconds, rows)
    object_rows(lib, bench)
    task_rows(lib, bench)
    actor_rows(lib, bench)
    async_actor_rows(lib, bench)
    placement_group_rows(lib, bench)
    began = time.perf_counter()
    lib.shutdown()
    rows["shutdown"] = {"seconds": time.perf_counter() - began}
    with open(arguments.json, "w") as file:
        json.dump(rows, file, indent=1)


class Bench:
    def __init__(self, lib, only: str, seconds: float, rows: dict) -> None:
        self.lib, self.only, self.seconds, self.rows = lib, only, seconds, rows

    def wants(self, name: str) -> bool:
        return self.only in name

    def rate(self, name: str, call: Callable[[], object], multiplier: float = 1) -> None:
        """Records how often per second `call` runs, times `multiplier`."""
        if not self.wants(name):
            return
        call()
        rates, total = [], 0.0
        while total < self.seconds or len(rates) < 3:
            count, began = 0, time.perf_counter()
            while True:
                call()
                count += 1
                elapsed = time.perf_counter() - began
                if elapsed > self.seconds / 4:
                    break
            rates.append(count * multiplier / elapsed)
            total += elapsed
        self.rows[name] = {"per_second": statistics.median(rates), "best": max(rates)}
        print(f"{name}: {statistics.median(rates):,.1f}/s", flush=True)

    def latency(self, name: str, call: Callable[[], object]) -> None:
        """Records percentiles of one call in microseconds, and the rate, for the sync rows."""
        if not self.wants(name):
            return
        for _ in range(20):
            call()
        times, began = [], time.perf_counter()
        while time.perf_counter() - began < self.seconds:
            start = time.perf_counter()
            call()
            times.append(time.perf_counter() - start)
        times.sort()
        at = lambda p: times[min(int(len(times) * p), len(times) - 1)] * 1e6  # noqa: E731
        self.rows[name] = {"per_second": len(times) / sum(times), "p50_us": at(0.5), "p90_us": at(0.9), "p99_us": at(0.99)}
        print(f"{name}: {self.rows[name]['per_second']:,.1f}/s, p50 {at(0.5):.1f} us, p99 {at(0.99):.1f} us", flush=True)


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
        bench.rate("tasks with ref arg async", lambda: get([small_value_with_arg.remote(ref) for _ in range(1000)]), 1000)
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


def actor_rows(lib, bench: Bench) -> None:
    get = lib.get
    Actor, Client = make_actors(lib)

    @lib.remote
    def work(actors: list) -> None:
        lib.get([actors[i % len(actors)].small_value.remote() for i in range(5000)])

    actor = Actor.remote()
    bench.latency("1:1 actor calls sync", lambda: get(actor.small_value.remote()))
    bench.rate("1:1 actor calls async", lambda: get([actor.small_value.remote() for _ in range(1000)]), 1000)
    bench.rate("1:1 actor calls with value arg async",
               lambda: get([actor.small_value_arg.remote(1) for _ in range(1000)]), 1000)
    del actor
    if bench.wants("1:1 actor calls concurrent"):
        concurrent = Actor.options(max_concurrency=16).remote()
        bench.rate("1:1 actor calls concurrent", lambda: get([concurrent.small_value.remote() for _ in range(1000)]), 1000)
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
        bench.rate("n:n actor calls with arg async",
                   lambda: get([c.small_value_batch_arg.remote(1000) for c in clients]), 1000 * CPUS)


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

    actor = AsyncActor.remote()
    bench.latency("1:1 async-actor calls sync", lambda: get(actor.small_value.remote()))
    bench.rate("1:1 async-actor calls async", lambda: get([actor.small_value.remote() for _ in range(1000)]), 1000)
    bench.rate("1:1 async-actor calls with args async",
               lambda: get([actor.small_value_with_arg.remote(i) for i in range(1000)]), 1000)
    del actor
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
