"""Clusters for tests: a head and raylets as separate daemons, joined over TCP as machines would be.

    with Cluster(nodes=[{"num_cpus": 2}, {"num_cpus": 1, "labels": "disk=hdd"}]) as cluster:
        shoal.init(address=cluster.nodes[0].socket)
        cluster.nodes[1].kill()          # SIGKILL to nanny and raylet, as if the machine lost power
"""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile

from shoal._internal.launch import find_binary

TIMEOUT_S = 60


def run(*arguments: str, directory: pathlib.Path | None = None, namespace: str | None = None,
        check: bool = True) -> subprocess.CompletedProcess[str]:
    """Runs the native command line; raises with its own words if it fails."""
    command = [find_binary(), *arguments]
    if directory is not None:
        command += ["--runtime-dir", str(directory)]
    if namespace is not None:
        command = ["ip", "netns", "exec", namespace, *command]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
    if check and done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} exited with {done.returncode}: {done.stderr.strip()}")
    return done


class Node:
    def __init__(self, directory: pathlib.Path, started: dict, namespace: str | None = None) -> None:
        self.directory = directory
        self.namespace = namespace
        self.socket: str = started.get("raylet_socket", "")
        self.node_id: str = started.get("node_id", "")
        self.nanny_pid: int = started["nanny_pid"]
        self.raylet_pid: int = started.get("raylet_pid", 0)
        self.head_pid: int = started.get("head_pid", 0)
        self.address: str = started.get("address", "")

    def kill(self) -> None:
        """As if the machine lost power: nothing says goodbye."""
        for pid in (self.nanny_pid, self.raylet_pid, self.head_pid):
            if pid:
                os.kill(pid, signal.SIGKILL)

    def shoal(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return run(*arguments, directory=self.directory, namespace=self.namespace, check=check)

    def json(self, *arguments: str) -> list | dict:
        return json.loads(self.shoal(*arguments, "--json").stdout)

    def stop(self) -> None:
        self.shoal("stop", check=False)


class Cluster:
    def __init__(self, nodes: list[dict], listen: str = "127.0.0.1", namespaces: list[str] | None = None) -> None:
        """`nodes`: options of `shoal start` per raylet. `namespaces`: the head's, then one per raylet."""
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="shoal-test-"))
        self.namespaces = namespaces
        self.nodes: list[Node] = []
        head_namespace = namespaces[0] if namespaces else None
        try:
            self.head = self._start("head", head_namespace, "--head", "--port", "0", "--listen", listen, "--no-raylet")
            for options in nodes:
                self.add(**options)
        except BaseException:
            self.stop()
            raise

    def _start(self, name: str, namespace: str | None, *arguments: str) -> Node:
        directory = self.root / name
        started = json.loads(run("start", *arguments, "--json", directory=directory, namespace=namespace).stdout)
        return Node(directory, started, namespace)

    def token(self, *options: str) -> str:
        return json.loads(self.head.shoal("token", "create", *options, "--json").stdout)["token"]

    def add(self, **options: object) -> Node:
        """Joins one more raylet; `num_cpus=2` becomes `--num-cpus 2`."""
        name = f"node{len(self.nodes)}"
        namespace = self.namespaces[len(self.nodes) + 1] if self.namespaces else None
        words = ["--address", self.head.address, "--token", self.token(), "--name", name]
        for option, value in options.items():
            words += [f"--{option.replace('_', '-')}", str(value)]
        node = self._start(name, namespace, *words)
        self.nodes.append(node)
        return node

    def stop(self) -> None:
        for node in [*self.nodes, *([self.head] if hasattr(self, "head") else [])]:
            node.stop()
        shutil.rmtree(self.root, ignore_errors=True)

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
