"""What `shoal list tasks`, `shoal why` and `shoal status` say of a runtime in which something waits or hangs."""

from __future__ import annotations

import os
import pathlib
import signal
from collections.abc import Iterator

import pytest
from audit import wait_until
from cluster import Cluster, Node

import shoal

FAILED, TASK_ID_DIGITS = 1, 32


@shoal.remote
def wait_for(path: str, started: str = "") -> None:
    import threading

    if started:
        open(started, "x").close()
    pause = threading.Event()
    while not os.path.exists(path):
        pause.wait(0.01)


@pytest.fixture
def node() -> Iterator[Node]:
    with Cluster([{"num_cpus": 1}]) as cluster:
        shoal.init(address=cluster.nodes[0].socket)
        yield cluster.nodes[0]
        shoal.shutdown()


def task_id(ref: shoal.ObjectRef) -> str:
    return ref.hex()[:TASK_ID_DIGITS]


def test_a_task_is_listed_once_and_why_explains_it_alone(node: Node, tmp_path: pathlib.Path) -> None:
    go, started = str(tmp_path / "go"), tmp_path / "started"
    running = wait_for.remote(go, str(started))
    wait_until(started.exists, 20, "the task runs")
    waits = wait_for.options(resources={"unobtainium": 1}).remote(go)
    other = wait_for.options(num_cpus=64).remote(go)

    def states() -> dict[str, str]:
        return {row["task_id"]: row["state"] for row in node.json("list", "tasks")}

    wait_until(lambda: len(states()) == 3, 10, "all three are known")
    assert len(node.json("list", "tasks")) == 3
    assert states() == {task_id(running): "running", task_id(waits): "queued", task_id(other): "queued"}

    task, *demands = node.json("why", task_id(waits))
    assert (task["task_id"], task["state"]) == (task_id(waits), "queued")
    assert [demand["shape"] for demand in demands] == [task["shape"]]
    assert "unobtainium" in demands[0]["nodes"][0]["reason"]
    assert [row["state"] for row in node.json("why", task_id(running))] == ["running"]

    unknown = node.shoal("why", "0" * TASK_ID_DIGITS, check=False)
    assert unknown.returncode == FAILED and "no task 0" in unknown.stderr
    shoal.cancel(waits)
    shoal.cancel(other)
    (tmp_path / "go").touch()
    shoal.get(running)


def test_a_daemon_that_somebody_stopped_is_named(node: Node) -> None:
    os.kill(node.raylet_pid, signal.SIGSTOP)
    try:
        status = node.shoal("status", check=False)
    finally:
        os.kill(node.raylet_pid, signal.SIGCONT)
    assert status.returncode == FAILED
    assert f"the raylet is stopped; let it go on with `kill -CONT {node.raylet_pid}`" in status.stderr


def test_a_process_that_does_not_answer_is_named(node: Node, tmp_path: pathlib.Path) -> None:
    go, started = str(tmp_path / "go"), tmp_path / "started"
    running = wait_for.remote(go, str(started))
    wait_until(started.exists, 20, "the task runs")

    def leased() -> list[int]:
        return [row["pid"] for row in node.json("list", "workers") if row["state"] == "leased"]

    wait_until(leased, 10, "the head has heard of the worker")
    (worker,) = leased()
    os.kill(worker, signal.SIGSTOP)
    try:
        listed = node.shoal("why", task_id(running))
    finally:
        os.kill(worker, signal.SIGCONT)
    assert f"a worker with pid {worker} did not answer within 1 s" in listed.stderr
    assert task_id(running) in listed.stdout, "its owner knows of it"
    (tmp_path / "go").touch()
    shoal.get(running)
