"""kill -9 of the head under load: no running task fails, names and jobs survive, and new work is taken soon after."""

from __future__ import annotations

import json
import os
import pathlib
import signal

from audit import wait_until
from cluster import Cluster

import shoal

GET_TIMEOUT_S = 60


@shoal.remote(max_retries=0)
def wait_for(path: str, started: str) -> int:
    """Says that it runs, and runs until the file is there."""
    import threading

    open(started, "x").close()
    pause = threading.Event()
    while not os.path.exists(path):
        pause.wait(0.01)
    return os.getpid()


@shoal.remote
def square(x: int) -> int:
    return x * x


@shoal.remote
class Counter:
    def __init__(self) -> None:
        self.value = 0

    def add(self) -> int:
        self.value += 1
        return self.value


def kill_head(cluster: Cluster) -> None:
    """Returns when the next head runs."""
    def pid() -> int:
        return int(json.loads((cluster.head.directory / "state.json").read_text())["head_pid"])

    before = pid()
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: pid() != before, 5, "the nanny starts another head")


def test_running_tasks_do_not_notice_that_the_head_died(tmp_path: pathlib.Path) -> None:
    go = tmp_path / "go"
    with Cluster([{"num_cpus": 1}, {"num_cpus": 1}]) as cluster:
        shoal.init(address=cluster.nodes[0].socket)
        started = [tmp_path / f"started{i}" for i in range(2)]
        running = [wait_for.remote(str(go), str(path)) for path in started]
        wait_until(lambda: all(path.exists() for path in started), 20, "both tasks run")
        kill_head(cluster)
        waiting = [square.remote(i) for i in range(100)]  # stated while the head is away or just back
        go.touch()
        assert len(set(shoal.get(running, timeout=GET_TIMEOUT_S))) == 2
        assert shoal.get(waiting, timeout=GET_TIMEOUT_S) == [i * i for i in range(100)]
        wait_until(lambda: shoal.cluster_resources().get("CPU") == 2, 10, "both nodes are back")
        shoal.shutdown()


def test_named_actors_keep_their_state_over_a_new_head() -> None:
    with Cluster([{"num_cpus": 1}]) as cluster:
        shoal.init(address=cluster.nodes[0].socket, namespace="test")
        counter = Counter.options(name="counter", lifetime="detached").remote()
        assert shoal.get(counter.add.remote(), timeout=GET_TIMEOUT_S) == 1
        kill_head(cluster)
        assert shoal.get(counter.add.remote(), timeout=GET_TIMEOUT_S) == 2  # straight to the worker
        again = shoal.get_actor("counter")
        assert shoal.get(again.add.remote(), timeout=GET_TIMEOUT_S) == 3
        actors = cluster.head.json("list", "actors")
        assert [(actor["state"], actor["num_restarts"]) for actor in actors] == [("ALIVE", 0)]
        shoal.kill(again)
        shoal.shutdown()
