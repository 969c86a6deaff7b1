"""Machines as network namespaces: joining, refusals, and a cut of one direction. Needs root and iproute2."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
from collections.abc import Iterator

import numpy as np
import pytest
from audit import wait_until
from cluster import Cluster, run

import shoal
from shoal.util.scheduling_strategies import NodeAffinitySchedulingStrategy

PREFIX = f"shoal{os.getpid() % 100000}"


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


def may_make_namespaces() -> bool:
    if os.geteuid() != 0:
        return False
    return subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False).returncode == 0


pytestmark = pytest.mark.skipif(not may_make_namespaces(), reason="needs root and network namespaces")


@pytest.fixture
def machines() -> Iterator[list[str]]:
    """Three namespaces on a bridge in a fourth: 10.77.0.1, .2 and .3."""
    switch = f"{PREFIX}sw"
    names = [f"{PREFIX}m{i}" for i in range(3)]
    try:
        ip("netns", "add", switch)
        ip("-n", switch, "link", "add", "br0", "type", "bridge")
        ip("-n", switch, "link", "set", "br0", "up")
        for i, name in enumerate(names):
            ip("netns", "add", name)
            ip("-n", name, "link", "add", "eth0", "type", "veth", "peer", "name", f"port{i}", "netns", switch)
            ip("-n", switch, "link", "set", f"port{i}", "master", "br0", "up")
            ip("-n", name, "addr", "add", f"10.77.0.{i + 1}/24", "dev", "eth0")
            ip("-n", name, "link", "set", "eth0", "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield names
    finally:
        for name in [*names, switch]:
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


@pytest.fixture
def cluster(machines: list[str]) -> Iterator[Cluster]:
    with Cluster([{"listen": "10.77.0.2", "num_cpus": 1}, {"listen": "10.77.0.3", "num_cpus": 1}], listen="10.77.0.1",
                 namespaces=machines) as made:
        yield made


def join(cluster: Cluster, token: str, directory: pathlib.Path, address: str | None = None) -> subprocess.CompletedProcess[str]:
    return run("start", "--address", address or cluster.head.address, "--token", token, directory=directory,
               namespace=cluster.nodes[0].namespace, check=False)


def one_sentence(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode != 0
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    return lines[0]


def test_tasks_run_on_every_machine(cluster: Cluster) -> None:
    shoal.init(address=cluster.nodes[0].socket)

    @shoal.remote(num_cpus=1)
    def where(x: np.ndarray) -> tuple[str, int]:
        return shoal.get_runtime_context().get_node_id(), int(x.sum())

    numbers = shoal.put(np.arange(1_000_000))  # lives in one store and is fetched by the other
    for node in cluster.nodes:
        there = NodeAffinitySchedulingStrategy(node.node_id, soft=False)
        ran_at, total = shoal.get(where.options(scheduling_strategy=there).remote(numbers), timeout=30)
        assert (ran_at, total) == (node.node_id, 499_999_500_000)


def test_tokens_that_do_not_fit_are_refused_in_one_sentence(cluster: Cluster, tmp_path: pathlib.Path) -> None:
    used = cluster.token()
    with_this_token = cluster.nodes[0].directory.parent / "third"
    run("start", "--address", cluster.head.address, "--token", used, "--listen", "10.77.0.2", directory=with_this_token,
        namespace=cluster.nodes[0].namespace)
    try:
        assert "used" in one_sentence(join(cluster, used, tmp_path / "used"))
    finally:
        run("stop", directory=with_this_token, check=False)

    expired = cluster.token("--ttl", "0")
    assert "expired" in one_sentence(join(cluster, expired, tmp_path / "expired"))

    good = cluster.token()
    damaged = good[:-6] + ("aaaaaa" if good[-6:] != "aaaaaa" else "bbbbbb")
    assert "token" in one_sentence(join(cluster, damaged, tmp_path / "damaged"))

    nobody = "10.77.0.1:1"
    assert nobody in one_sentence(join(cluster, good, tmp_path / "nobody", nobody))


def test_a_token_of_another_cluster_is_refused(cluster: Cluster, machines: list[str], tmp_path: pathlib.Path) -> None:
    with Cluster([], listen="10.77.0.1", namespaces=[machines[0]]) as other:
        sentence = one_sentence(join(cluster, other.token(), tmp_path / "other"))
        assert "cluster" in sentence or "token" in sentence


def test_nothing_but_curve_gets_an_answer(cluster: Cluster) -> None:
    host, port = cluster.head.address.rsplit(":", 1)
    program = (
        "import socket, sys\n"
        "s = socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=5)\n"
        "s.sendall(b'GET / HTTP/1.1\\r\\n\\r\\n' * 10)\n"
        "s.settimeout(5)\n"
        "data = b''\n"
        "try:\n"
        "    while chunk := s.recv(4096): data += chunk\n"
        "except OSError: pass\n"
        "print(len(data))\n")
    done = subprocess.run(["ip", "netns", "exec", cluster.nodes[0].namespace, "python3", "-c", program, host, port],
                          capture_output=True, text=True, check=True, timeout=30)
    assert int(done.stdout) <= 64, "at most ZeroMQ's greeting"
    assert len(cluster.head.json("list", "nodes")) == 2


@pytest.mark.parametrize("direction", ["input", "output"])
def test_a_cut_of_one_direction_is_noticed_on_both_sides(cluster: Cluster, direction: str) -> None:
    victim = cluster.nodes[1]
    loopback = "iifname lo accept" if direction == "input" else "oifname lo accept"
    # One statement per line: nft takes no other form of this.
    rules = f"table inet cut {{\n chain c {{\n type filter hook {direction} priority 0; policy drop;\n {loopback}\n }}\n}}\n"
    nft = ["ip", "netns", "exec", victim.namespace, "nft"]
    subprocess.run([*nft, "-f", "-"], input=rules, text=True, check=True, capture_output=True)

    def node(at, name: str) -> dict:
        return next(row for row in at.json("list", "nodes") if row["node_id"] == name)

    wait_until(lambda: not node(cluster.head, victim.node_id)["reachable"], 5, "the head notices")
    status = json.loads(victim.shoal("status", "--json", check=False).stdout)
    wait_until(lambda: not json.loads(victim.shoal("status", "--json", check=False).stdout)["head_reachable"], 5,
               f"the raylet notices ({status})")
    subprocess.run([*nft, "delete", "table", "inet", "cut"], check=True, capture_output=True)
    wait_until(lambda: node(cluster.head, victim.node_id)["reachable"], 15, "healed")


def test_ports_are_closed_to_those_who_do_not_know_the_key(cluster: Cluster) -> None:
    """No listener of Shoal is bound anywhere but where it was told to."""
    listening = subprocess.run(["ip", "netns", "exec", cluster.head.namespace, "ss", "-Htln"], capture_output=True, text=True,
                               check=True).stdout
    addresses = {line.split()[3].rsplit(":", 1)[0].strip("[]").removeprefix("::ffff:") for line in listening.splitlines()}
    assert addresses <= {"10.77.0.1"}, listening
