"""kill -9 of the head under load, and a full disk: no running task fails, names and jobs survive, and new work is taken soon after."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import signal
import subprocess
from collections.abc import Iterator

import pytest
from audit import wait_until
from cluster import Cluster, Node, run

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


@pytest.fixture
def small_disk(tmp_path: pathlib.Path) -> Iterator[pathlib.Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(disk)], capture_output=True, check=False)
    if mounted.returncode != 0:
        pytest.skip("needs the right to mount")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def fill(path: pathlib.Path) -> None:
    with contextlib.suppress(OSError), open(path, "wb", buffering=0) as file:
        while file.write(bytes(4096)) > 0:
            pass


def test_a_full_disk_stops_only_the_head_and_it_goes_on_when_there_is_room(small_disk: pathlib.Path, tmp_path: pathlib.Path) -> None:
    go, started = tmp_path / "go", tmp_path / "started"
    node = Node(small_disk / "runtime", json.loads(run("start", "--head", "--port", "0", "--num-cpus", "1", "--json",
                                                       directory=small_disk / "runtime").stdout))
    try:
        shoal.init(address=node.socket, namespace="test")
        running = wait_for.remote(str(go), str(started))
        wait_until(started.exists, 20, "the task runs")
        fill(small_disk / "fill")
        counter = Counter.options(num_cpus=0).remote()  # what the head promises, it must have written
        wait_until(lambda: "no space is left on the disk" in node.json("status").get("head_waits", ""), 20, "the head says why it waits")
        assert "no space is left on the disk" in node.shoal("status").stdout
        go.touch()
        assert shoal.get(running, timeout=GET_TIMEOUT_S) > 0
        (small_disk / "fill").unlink()
        assert shoal.get(counter.add.remote(), timeout=GET_TIMEOUT_S) == 1
        wait_until(lambda: "head_waits" not in node.json("status"), 10, "nothing is waited for any more")
        shoal.shutdown()
    finally:
        node.stop()
