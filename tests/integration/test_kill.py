"""kill -9 of each kind of process while 2,000 tasks run: what was promised arrives, and nothing is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap

import pytest
from audit import descendants, is_shoal, processes, wait_until
from cluster import Cluster

import shoal

TASKS = 2000
GET_TIMEOUT_S = 60


@shoal.remote(max_retries=-1)
def square(x: int) -> tuple[int, int]:
    return x * x, os.getpid()


def submit() -> list[shoal.ObjectRef]:
    return [square.remote(i) for i in range(TASKS)]


def check(refs: list[shoal.ObjectRef]) -> None:
    assert [value for value, _ in shoal.get(refs, timeout=GET_TIMEOUT_S)] == [i * i for i in range(TASKS)]


def slots_are_free() -> bool:
    return shoal.available_resources().get("CPU") == shoal.cluster_resources().get("CPU")


def test_a_killed_worker_costs_no_result() -> None:
    shoal.init(num_cpus=2)
    refs = submit()
    _, victim = shoal.get(refs[0], timeout=GET_TIMEOUT_S)
    os.kill(victim, signal.SIGKILL)
    check(refs)
    del refs
    wait_until(slots_are_free, 2, "all slots free")


def test_a_killed_raylet_costs_no_result() -> None:
    with Cluster([{"num_cpus": 1}, {"num_cpus": 2}]) as cluster:
        shoal.init(address=cluster.nodes[0].socket)
        refs = submit()
        shoal.wait(refs, num_returns=50)
        cluster.nodes[1].kill()
        check(refs)
        del refs
        shoal.shutdown()


def test_a_killed_raylet_process_is_restarted_by_its_nanny_and_serves_again() -> None:
    with Cluster([{"num_cpus": 1}, {"num_cpus": 2}]) as cluster:
        shoal.init(address=cluster.nodes[0].socket)
        refs = submit()
        shoal.wait(refs, num_returns=50)
        os.kill(cluster.nodes[1].raylet_pid, signal.SIGKILL)
        check(refs)
        wait_until(lambda: shoal.cluster_resources().get("CPU") == 3, 20, "the restarted raylet counts again")
        check(submit())
        shoal.shutdown()


def test_a_killed_nanny_takes_its_node_down() -> None:
    with Cluster([{"num_cpus": 1}, {"num_cpus": 2}]) as cluster:
        shoal.init(address=cluster.nodes[0].socket)
        refs = submit()
        shoal.wait(refs, num_returns=50)
        node = cluster.nodes[1]
        os.kill(node.nanny_pid, signal.SIGKILL)
        wait_until(lambda: node.raylet_pid not in processes(), 2, "the raylet leaves with its nanny")
        check(refs)
        shoal.shutdown()


def test_a_driver_whose_node_was_given_up_while_it_stood_still_learns_it() -> None:
    with Cluster([{"num_cpus": 1}]) as cluster:
        node = cluster.nodes[0]
        shoal.init(address=node.socket)
        check(submit())
        os.kill(node.raylet_pid, signal.SIGSTOP)
        try:
            wait_until(lambda: [row["state"] for row in cluster.head.json("list", "nodes")] == ["DEAD"], 30, "the head gives the node up")
        finally:
            os.kill(node.raylet_pid, signal.SIGCONT)
        with pytest.raises(shoal.exceptions.NodeDiedError, match="no heartbeat came in time"):
            wait_until(lambda: not shoal.get(square.remote(1), timeout=GET_TIMEOUT_S), 20, "the raylet has heard of it")
        wait_until(lambda: not cluster.head.json("list", "workers"), 10, "nothing is started for a job that has ended")
        shoal.shutdown()


def test_a_killed_driver_leaves_an_empty_cluster() -> None:
    program = textwrap.dedent("""
        import shoal, sys
        shoal.init(address=sys.argv[1])
        @shoal.remote
        def slow(i):
            import threading
            threading.Event().wait(60)
        refs = [slow.remote(i) for i in range(2000)]
        print("submitted", flush=True)
        shoal.get(refs)
    """)
    with Cluster([{"num_cpus": 2}]) as cluster:
        driver = subprocess.Popen([sys.executable, "-c", program, cluster.nodes[0].socket], stdout=subprocess.PIPE, text=True)
        assert driver.stdout is not None and driver.stdout.readline() == "submitted\n"
        wait_until(lambda: any(lease for lease in cluster.head.json("list", "workers") if lease.get("state") == "leased"), 20,
                   "tasks run")
        driver.kill()
        driver.wait()
        wait_until(lambda: not cluster.head.json("list", "jobs") or
                   all(job["state"] == "FINISHED" for job in cluster.head.json("list", "jobs")), 5, "the job ends")
        wait_until(lambda: not any(worker.get("state") == "leased" for worker in cluster.head.json("list", "workers")), 5,
                   "its workers are gone")


@pytest.mark.parametrize("role", ["driver", "runtime"])
def test_a_local_runtime_dies_with_its_driver_and_the_other_way_round(role: str) -> None:
    program = textwrap.dedent("""
        import shoal
        shoal.init(num_cpus=2)
        @shoal.remote
        def one():
            return 1
        assert shoal.get(one.remote()) == 1
        print("ready", flush=True)
        try:
            shoal.get(shoal.remote(lambda: __import__("threading").Event().wait(60)).remote())
        except shoal.exceptions.ShoalError as error:
            print(type(error).__name__, flush=True)
    """)
    driver = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert driver.stdout is not None and driver.stdout.readline() == "ready\n"
    below = {pid for pid in descendants(driver.pid) if is_shoal(pid)}
    assert below
    if role == "driver":
        driver.kill()
        driver.wait()
    else:
        for pid in below:
            os.kill(pid, signal.SIGKILL)
        line = driver.stdout.readline()
        assert line.strip(), "the driver learns that its runtime is gone"
        driver.wait(timeout=10)
    wait_until(lambda: not below & processes(), 2, "nothing of it runs")
