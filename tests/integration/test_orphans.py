"""What user code forks away dies with its worker's node, however it left; what it leaves in its group dies with its worker."""

from __future__ import annotations

import os
import signal
import subprocess
import time

import pytest
from audit import wait_until
from cluster import Cluster

import shoal

GET_TIMEOUT_S = 60


@shoal.remote(num_cpus=0)
class Parent:
    def pid(self) -> int:
        return os.getpid()

    def fork_away(self) -> int:
        """A process in a session of its own whose parents are gone."""
        script = "setsid sh -c 'sleep 1000 >/dev/null 2>&1 & echo $!'"
        return int(subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout)

    def fork(self) -> int:
        return subprocess.Popen(["sleep", "1000"]).pid

    def block(self) -> None:
        while True:
            time.sleep(1)


def gone(pid: int) -> bool:
    return not os.path.exists(f"/proc/{pid}")


@pytest.mark.parametrize("role", ["raylet", "nanny"])
def test_nothing_of_a_node_outlives_it(role: str) -> None:
    with Cluster([{"num_cpus": 1}, {"num_cpus": 1, "resources": '{"there": 1}'}]) as cluster:
        shoal.init(address=cluster.nodes[0].socket)
        parent = Parent.options(resources={"there": 1}).remote()
        pids = shoal.get([parent.pid.remote(), parent.fork_away.remote(), parent.fork.remote()], timeout=GET_TIMEOUT_S)
        parent.block.remote()
        os.kill(getattr(cluster.nodes[1], f"{role}_pid"), signal.SIGKILL)
        wait_until(lambda: all(gone(pid) for pid in pids), 2, f"all of {pids} are gone")
        shoal.shutdown()


def test_a_dead_worker_takes_its_children_along() -> None:
    shoal.init(num_cpus=1)
    parent = Parent.remote()
    pid, child = shoal.get([parent.pid.remote(), parent.fork.remote()], timeout=GET_TIMEOUT_S)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: gone(pid) and gone(child), 2, "worker and child are gone")


def test_stopping_leaves_nothing_of_blocked_workers() -> None:
    with Cluster([{"num_cpus": 1}]) as cluster:
        shoal.init(address=cluster.nodes[0].socket)
        parent = Parent.remote()
        pids = shoal.get([parent.pid.remote(), parent.fork_away.remote()], timeout=GET_TIMEOUT_S)
        parent.block.remote()
        cluster.nodes[0].shoal("stop")
        assert all(gone(pid) for pid in pids), "stop returns when all is gone"
        shoal.shutdown()
