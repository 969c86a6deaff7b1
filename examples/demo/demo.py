"""Train a classifier for Fashion-MNIST on a head and three raylets, and lose one of them on the way.

    make demo

Starts a head and three raylets that join over TCP with a token each, as three machines would; searches hyper-parameters with
tasks; trains data-parallel against a parameter-server actor; kills one raylet with SIGKILL in the middle; prints what
happened; stops everything and checks that nothing is left.
"""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
os.environ["PYTHONPATH"] = os.pathsep.join([sys.path[0], os.environ.get("PYTHONPATH", "")])
os.environ.setdefault("SHOAL_PYTHON", sys.executable)  # the workers' interpreter

import fashion  # noqa: E402
from fashion import Config  # noqa: E402

import shoal  # noqa: E402
from shoal._internal.launch import find_binary  # noqa: E402

SHARDS = 6
ROUNDS = 30
KILL_AFTER_ROUND = 8
WANTED_ACCURACY = 0.87


class Cluster:
    """A head and three raylets of different size, each with its own runtime directory, as on machines of their own."""

    def __init__(self) -> None:
        self.binary = find_binary()
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="shoal-demo-"))
        head = json.loads(self.shoal("start", "--head", "--port", "0", "--listen", "127.0.0.1", "--no-raylet", "--json",
                                     directory="head"))
        self.address = head["address"]
        self.nodes: dict[str, dict] = {}
        for name, options in {
            "large": ["--num-cpus", "2", "--resources", '{"parameter_server": 1}', "--labels", "disk=ssd"],
            "medium": ["--num-cpus", "1", "--labels", "disk=hdd"],
            "small": ["--num-cpus", "1", "--object-store-memory", "100000000"],
        }.items():
            token = json.loads(self.shoal("token", "create", "--json", directory="head"))["token"]
            started = self.shoal("start", "--address", self.address, "--token", token, "--name", name, *options,
                                 "--json", directory=name)
            self.nodes[name] = json.loads(started)

    def shoal(self, *arguments: str, directory: str) -> str:
        command = [self.binary, *arguments, "--runtime-dir", str(self.root / directory)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
        return done.stdout

    def kill_raylet(self, name: str) -> None:
        """As if that machine lost power: nanny and raylet die at once, nothing says goodbye."""
        for role in ("nanny_pid", "raylet_pid"):
            os.kill(self.nodes[name][role], signal.SIGKILL)

    def wait_until_free(self) -> None:
        """Until the head has heard that nothing is used any more, or for five seconds: then `shoal status` shows what is."""
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            status = json.loads(self.shoal("status", "--json", directory="head"))
            if status["resources_available"] == status["resources_total"]:
                return
            time.sleep(0.05)

    def stop(self) -> None:
        for directory in [*self.nodes, "head"]:
            subprocess.run([self.binary, "stop", "--runtime-dir", str(self.root / directory)], capture_output=True,
                           check=False, timeout=60)
        shutil.rmtree(self.root, ignore_errors=True)


@shoal.remote
def try_config(config: Config, images: np.ndarray, labels: np.ndarray, seed: int) -> float:
    """Accuracy on held-out images after two short passes."""
    half = len(images) // 2
    weights = fashion.new_weights(config.hidden, seed)
    for step in range(2):
        weights = fashion.train(weights, images[:half], labels[:half], config, seed + step)
    return fashion.accuracy(weights, images[half:], labels[half:])


@shoal.remote(max_retries=5)
def train_shard(weights: list, images: np.ndarray, labels: np.ndarray, config: Config, seed: int) -> tuple:
    """New weights after one pass over the shard, the node that ran it, and which attempt this was."""
    trained = fashion.train(weights, images, labels, config, seed)
    context = shoal.get_runtime_context()
    return trained, context.get_node_id(), context.get_attempt_number()


@shoal.remote(resources={"parameter_server": 1})
class ParameterServer:
    """Holds the weights; a round's answer is the mean of what the shards made of them."""

    def __init__(self, hidden: int) -> None:
        self.weights = fashion.new_weights(hidden, seed=0)

    def current(self) -> list:
        return self.weights

    def average(self, *trained: tuple) -> list[tuple[str, int]]:
        """Takes the shards' results; returns (node, attempt) of each."""
        self.weights = [np.mean([weights[k] for weights, _, _ in trained], axis=0) for k in range(4)]
        return [(node, attempt) for _, node, attempt in trained]


def progress(text: str) -> None:
    if sys.stdout.isatty():
        print(f"\r\033[K{text}", end="", flush=True)
    else:
        print(text, flush=True)


def search(images: np.ndarray, labels: np.ndarray) -> Config:
    configs = [Config(rate, hidden, batch) for rate in (0.05, 0.1, 0.2) for hidden in (64, 128) for batch in (16, 32)]
    sample, sample_labels = shoal.put(images[:8000]), shoal.put(labels[:8000])
    refs = {try_config.remote(config, sample, sample_labels, 7): config for config in configs}
    results: list[tuple[float, Config]] = []
    waiting = list(refs)
    while waiting:
        done, waiting = shoal.wait(waiting)
        results += [(shoal.get(ref), refs[ref]) for ref in done]
        best = max(results, key=lambda r: r[0])
        progress(f"search    {len(results):2}/{len(configs)}  best {best[0]:.3f}  {best[1]}")
    print()
    return max(results, key=lambda r: r[0])[1]


def train(cluster: Cluster, config: Config, images: np.ndarray, labels: np.ndarray,
          test: tuple[np.ndarray, np.ndarray]) -> tuple[float, Counter, int, int]:
    server = ParameterServer.remote(config.hidden)
    shards = [(shoal.put(images[i::SHARDS]), shoal.put(labels[i::SHARDS])) for i in range(SHARDS)]
    moved = sum(array.nbytes for array in (images, labels))
    tasks: Counter = Counter()
    retries = 0
    score = 0.0
    for number in range(ROUNDS):
        decayed = Config(config.learning_rate * 0.95**number, config.hidden, config.batch)
        weights = server.current.remote()
        results = [train_shard.remote(weights, x, y, decayed, number * SHARDS + i) for i, (x, y) in enumerate(shards)]
        if number == KILL_AFTER_ROUND:
            shoal.wait(results)  # by now every node is at work
            cluster.kill_raylet("small")
            print("\nkilled    raylet 'small' with SIGKILL while its tasks run")
        for node, attempt in shoal.get(server.average.remote(*results)):
            tasks[node] += 1
            retries += attempt
        current = shoal.get(server.current.remote())
        moved += sum(w.nbytes for w in current) * (SHARDS * 2 + 1)
        score = fashion.accuracy(current, *test)
        progress(f"training  round {number + 1:2}/{ROUNDS}  accuracy {score:.4f}  retries {retries}  "
                 f"nodes alive {sum(node['Alive'] for node in shoal.nodes())}")
    print()
    return score, tasks, retries, moved


def main() -> int:
    began = time.monotonic()
    images, labels = fashion.load("train")
    test = fashion.load("t10k")
    cluster = Cluster()
    try:
        print(f"started   a head at {cluster.address} and raylets {', '.join(cluster.nodes)}")
        shoal.init(address=cluster.nodes["large"]["raylet_socket"])
        names = {node["NodeID"]: node["NodeName"] for node in shoal.nodes()}
        config = search(images, labels)
        score, tasks, retries, moved = train(cluster, config, images, labels, test)
        shoal.shutdown()
        print(f"\n{'accuracy on 10,000 test images':34}{score:.2%}")
        for node, count in sorted(tasks.items(), key=lambda item: names.get(item[0], "")):
            print(f"{'training tasks on ' + names.get(node, node):34}{count}")
        print(f"{'tasks run again after the kill':34}{retries}")
        print(f"{'bytes of arguments and results':34}{moved / 1e6:,.0f} MB")
        print(f"{'time':34}{time.monotonic() - began:.1f} s")
        print("\nshoal status")
        cluster.wait_until_free()
        print(cluster.shoal("status", directory="head"))
    finally:
        if shoal.is_initialized():
            shoal.shutdown()
        cluster.stop()
    left = subprocess.run(["pgrep", "-af", str(cluster.root)], capture_output=True, text=True, check=False).stdout
    if left:
        print(f"still running:\n{left}")
        return 1
    return 0 if score >= WANTED_ACCURACY else 1


if __name__ == "__main__":
    sys.exit(main())
