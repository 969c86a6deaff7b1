"""The command line against real daemons: start, join, status, stop, refusals, and kill -9 of each daemon.

Needs the binary alone: $SHOAL_BINARY, or the one of the dev build.
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
from collections.abc import Iterator

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from audit import command_of, pids, wait_until  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BINARY = os.environ.get("SHOAL_BINARY", str(ROOT / "build/dev/runtime/bin/shoal"))
OK, FAILED, USAGE, NOT_RUNNING, REFUSED = range(5)
GONE_WITHIN_S = 2.0


class Machine:
    """One runtime directory."""

    def __init__(self, directory: pathlib.Path) -> None:
        self.directory = directory

    def run(self, *words: str, expect: int = OK) -> subprocess.CompletedProcess[str]:
        done = subprocess.run([BINARY, *words[:1], "--runtime-dir", str(self.directory), *words[1:]] if words[0] != "token" else
                              [BINARY, *words, "--runtime-dir", str(self.directory)],
                              capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == expect, f"{words} exited with {done.returncode}: {done.stdout}{done.stderr}"
        return done

    def json(self, *words: str) -> dict | list:
        return json.loads(self.run(*words, "--json").stdout)

    def complaint(self, *words: str, expect: int) -> str:
        """The one sentence that a command says when it fails."""
        lines = self.run(*words, expect=expect).stderr.strip().splitlines()
        assert len(lines) == 1, lines
        return lines[0]

    def processes(self) -> list[str]:
        """What runs for this directory."""
        return [f"{pid} {command_of(pid)}" for pid in pids() if str(self.directory) in command_of(pid)]

    def assert_nothing_runs(self, within_s: float = GONE_WITHIN_S) -> None:
        wait_until(lambda: not self.processes(), within_s, f"nothing runs: {self.processes()}")


@pytest.fixture
def root() -> Iterator[pathlib.Path]:
    path = pathlib.Path(tempfile.mkdtemp(prefix="shcli-", dir="/tmp"))
    yield path
    for directory in path.iterdir():
        machine = Machine(directory)
        subprocess.run([BINARY, "stop", "--runtime-dir", str(directory)], capture_output=True, check=False, timeout=30)
        for line in machine.processes():
            os.kill(int(line.split()[0]), signal.SIGKILL)
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def head(root: pathlib.Path) -> Machine:
    machine = Machine(root / "head")
    machine.started = machine.json("start", "--head", "--port", "0", "--no-raylet")
    return machine


def join(head: Machine, name: str, *options: str) -> Machine:
    machine = Machine(head.directory.parent / name)
    token = head.json("token", "create")["token"]
    machine.started = machine.json("start", "--address", head.started["address"], "--token", token, "--name", name, *options)
    return machine


def nodes(head: Machine) -> dict[str, dict]:
    return {row["name"]: row for row in head.json("list", "nodes")}


# ---- without a runtime


def test_help_and_version_need_no_runtime() -> None:
    shown = subprocess.run([BINARY, "--help"], capture_output=True, text=True, check=True).stdout
    assert "shoal start --head" in shown and "__" not in shown
    for command in ("start", "stop", "status", "token create", "list", "why", "logs", "submit", "completion"):
        described = subprocess.run([BINARY, *command.split(), "--help"], capture_output=True, text=True, check=True).stdout
        assert f"usage: shoal {command}" in described
        assert "ready-fd" not in described
    assert subprocess.run([BINARY, "--version"], capture_output=True, text=True, check=True).stdout.startswith("shoal ")
    bash = subprocess.run([BINARY, "completion", "bash"], capture_output=True, text=True, check=True).stdout
    assert subprocess.run(["bash", "-n"], input=bash, text=True, check=False).returncode == 0


@pytest.mark.parametrize(("words", "expect", "sentence"), [
    (["strat"], USAGE, "did you mean `shoal start`?"),
    (["token"], USAGE, "the command is `shoal token create`"),
    (["start"], USAGE, "--head to start a cluster, or --address"),
    (["start", "--head", "--address", "h:1"], USAGE, "--head to start a cluster, or --address"),
    (["start", "--head", "--listen", "none"], USAGE, "a head needs an address"),
    (["start", "--address", "nowhere"], USAGE, "'nowhere' is not HOST:PORT"),
    (["start", "--head", "--num-cpus", "many"], USAGE, "--num-cpus wants a number"),
    (["start", "--head", "--resources", "{"], USAGE, "--resources wants JSON"),
    (["start", "--head", "--labels", "x"], USAGE, "--labels wants KEY=VALUE"),
    (["start", "--address", "127.0.0.1:1"], USAGE, "has not joined 127.0.0.1:1 yet"),
    (["start", "--address", "127.0.0.1:1", "--token", "nonsense"], REFUSED, "token"),
    (["status"], NOT_RUNNING, "no runtime runs in"),
    (["stop"], NOT_RUNNING, "no runtime runs in"),
    (["list", "nodes"], NOT_RUNNING, "no runtime runs in"),
    (["list", "things"], USAGE, "say what to list: nodes,"),
    (["submit"], USAGE, "say what to run"),
    (["submit", "true"], NOT_RUNNING, "no raylet runs in"),
    (["logs"], NOT_RUNNING, "there are no logs"),
    (["status", "--runtime-dir", ""], USAGE, "--runtime-dir is empty"),
])
def test_mistakes_are_one_sentence_with_a_way_out(root: pathlib.Path, words: list[str], expect: int, sentence: str) -> None:
    done = subprocess.run([BINARY, *words], capture_output=True, text=True, check=False, timeout=30,
                          env={**os.environ, "SHOAL_RUNTIME_DIR": str(root / "none")})
    assert done.returncode == expect, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert sentence in done.stderr


def test_output_that_cannot_be_written_is_an_error() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run([BINARY, "--help"], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "shoal: the output could not be written: No space left on device\n"


# ---- a head, nodes, tokens


def test_a_head_alone_starts_answers_and_stops(head: Machine) -> None:
    assert head.started["address"].startswith("127.0.0.1:")
    assert os.stat(head.directory).st_mode & 0o777 == 0o700
    status = head.json("status")
    assert status["running"] and status["head_reachable"] and status["nodes"] == []
    assert status["head_pid"] == head.started["head_pid"]
    assert "0 nodes alive" in head.run("status").stdout
    assert "is already running" in head.complaint("start", "--head", expect=REFUSED)
    assert head.run("stop").stdout == "stopped\n"
    assert head.processes() == []
    assert head.complaint("stop", expect=NOT_RUNNING)


def test_machines_join_with_a_token_each(head: Machine) -> None:
    first = join(head, "first", "--num-cpus", "2", "--resources", '{"disk": 3}', "--labels", "zone=a,kind=fast")
    second = join(head, "second", "--num-cpus", "1")
    rows = nodes(head)
    assert set(rows) == {"first", "second"}
    assert rows["first"]["node_id"] == first.started["node_id"]
    assert rows["first"]["resources_total"]["CPU"] == 2 and rows["first"]["resources_total"]["disk"] == 3
    assert rows["first"]["labels"] == {"zone": "a", "kind": "fast"}
    wait_until(lambda: all(row["reachable"] for row in nodes(head).values()), 5, "both nodes are reachable")
    # The same from a joined machine, through its raylet.
    assert {row["name"] for row in second.json("list", "nodes")} == {"first", "second"}
    assert second.json("status")["head_reachable"]
    assert "2 nodes alive" in second.run("status").stdout
    assert "run `shoal token create` there" in second.complaint("token", "create", expect=FAILED)
    first.run("stop")
    wait_until(lambda: nodes(head)["first"]["state"] == "DEAD", 2, "the head knows at once that a machine left")
    assert nodes(head)["first"]["death_reason"] == "it was stopped"
    second.run("stop")
    assert first.processes() + second.processes() == []


def test_a_machine_that_joined_comes_back_without_a_token(head: Machine) -> None:
    machine = join(head, "one", "--num-cpus", "1")
    node_id = machine.started["node_id"]
    machine.run("stop")
    again = machine.json("start", "--address", head.started["address"], "--name", "one", "--num-cpus", "1")
    assert again["node_id"] == node_id


def test_tokens_that_do_not_fit_are_refused(head: Machine) -> None:
    address, other = head.started["address"], Machine(head.directory.parent / "other")
    used = head.json("token", "create")["token"]
    machine = Machine(head.directory.parent / "first")
    machine.json("start", "--address", address, "--token", used)
    assert "used" in other.complaint("start", "--address", address, "--token", used, expect=REFUSED)
    assert "a token lives for" in head.complaint("token", "create", "--ttl", "soon", expect=USAGE)
    expired = head.json("token", "create", "--ttl", "0")["token"]
    assert "expired" in other.complaint("start", "--address", address, "--token", expired, expect=REFUSED)
    good = head.json("token", "create")["token"]
    assert "127.0.0.1:1" in other.complaint("start", "--address", "127.0.0.1:1", "--token", good, expect=FAILED)
    assert other.processes() == []


def test_a_taken_port_is_named(head: Machine) -> None:
    port = head.started["address"].rsplit(":", 1)[1]
    other = Machine(head.directory.parent / "other")
    assert port in other.complaint("start", "--head", "--port", port, expect=FAILED)
    other.assert_nothing_runs()


def test_secrets_are_in_no_command_line(head: Machine) -> None:
    machine = join(head, "one")
    lines = "\n".join(machine.processes() + head.processes())
    assert "--token" not in lines and lines


# ---- head and raylet on one machine


def test_a_head_with_its_raylet_runs_programs(root: pathlib.Path) -> None:
    machine = Machine(root / "both")
    started = machine.json("start", "--head", "--port", "0", "--num-cpus", "1", "--name", "here")
    assert {row["name"] for row in machine.json("list", "nodes")} == {"here"}
    done = machine.run("submit", "--", "sh", "-c", "echo $SHOAL_ADDRESS; exit 7", expect=7)
    assert done.stdout.strip() == started["raylet_socket"]
    # Programs find what runs on their machine by themselves.
    env = {**os.environ, "SHOAL_RUNTIME_DIR": str(machine.directory)}
    program = "import shoal; print(shoal.init()['node_id'])"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60, env=env)
    assert found.stdout.strip() == started["node_id"]
    subprocess.run([pathlib.Path(BINARY).parents[2] / "examples/cpp/example_tasks"], check=True, timeout=60, env=env)
    assert any("example_tasks" in row["entrypoint"] for row in machine.json("list", "jobs"))
    assert "raylet.log" in machine.run("logs", "--list").stdout
    machine.run("stop")
    assert machine.processes() == []


def test_the_head_comes_back_as_itself_after_a_restart_of_everything(root: pathlib.Path) -> None:
    machine = Machine(root / "both")
    first = machine.json("start", "--head", "--port", "0")
    machine.run("stop")
    second = machine.json("start", "--head", "--port", "0")
    assert (second["cluster_id"], second["node_id"]) == (first["cluster_id"], first["node_id"])


# ---- kill -9


def state(machine: Machine) -> dict:
    return json.loads((machine.directory / "state.json").read_text())


@pytest.mark.parametrize("role", ["head", "raylet"])
def test_a_killed_daemon_is_started_again(root: pathlib.Path, role: str) -> None:
    machine = Machine(root / "both")
    started = machine.json("start", "--head", "--port", "0", "--name", "here")
    os.kill(started[f"{role}_pid"], signal.SIGKILL)
    wait_until(lambda: state(machine)[f"{role}_pid"] != started[f"{role}_pid"], 5, f"the {role} runs again")
    assert state(machine)["address"] == started["address"]
    wait_until(lambda: nodes(machine).get("here", {}).get("reachable"), 10, "the node is back")
    machine.run("stop")
    assert machine.processes() == []


def test_a_daemon_that_keeps_dying_is_given_up_with_one_message(root: pathlib.Path) -> None:
    machine = Machine(root / "both")
    machine.json("start", "--head", "--port", "0")
    killed: set[int] = set()

    def killed_all() -> bool:
        pid = state(machine).get("raylet_pid", 0)
        if pid not in killed and len(killed) < 5:
            killed.add(pid)
            os.kill(pid, signal.SIGKILL)
        return len(killed) == 5 and not machine.processes()

    wait_until(killed_all, 20, "the nanny gives up and takes everything with it")
    sentence = machine.complaint("status", expect=NOT_RUNNING)
    assert "the raylet died 5 times within a minute, the last time with signal 9 (Killed)" in sentence
    machine.json("start", "--head", "--port", "0")  # by hand it starts again


def test_a_killed_nanny_leaves_nothing(root: pathlib.Path) -> None:
    machine = Machine(root / "both")
    started = machine.json("start", "--head", "--port", "0")
    os.kill(started["nanny_pid"], signal.SIGKILL)
    machine.assert_nothing_runs()
    assert machine.complaint("status", expect=NOT_RUNNING)
    again = machine.json("start", "--head", "--port", "0")
    os.kill(again["nanny_pid"], signal.SIGKILL)
    machine.json("start", "--head", "--port", "0")  # without waiting for the end of the others


def test_everything_killed_at_once_leaves_nothing(root: pathlib.Path) -> None:
    machine = Machine(root / "both")
    started = machine.json("start", "--head", "--port", "0")
    for role in ("nanny", "raylet", "head"):
        os.kill(started[f"{role}_pid"], signal.SIGKILL)
    machine.assert_nothing_runs()


# ---- for one driver


def start_local(*options: str) -> tuple[subprocess.Popen[bytes], dict, int]:
    ready_read, ready_write = os.pipe()
    life_read, life_write = os.pipe()
    process = subprocess.Popen([BINARY, "start", "--head", "--local", "--ready-fd", str(ready_write), "--life-fd", str(life_read), *options],
                               pass_fds=(ready_write, life_read))
    os.close(ready_write)
    os.close(life_read)
    with os.fdopen(ready_read) as ready:
        line = ready.readline()
    return process, json.loads(line), life_write


def test_a_local_runtime_ends_with_its_driver() -> None:
    process, facts, life = start_local("--num-cpus", "2")
    directory = pathlib.Path(facts["runtime_dir"])
    machine = Machine(directory)
    assert machine.json("status")["resources_total"]["CPU"] == 2
    tcp = subprocess.run(["ss", "-Htlnp"], capture_output=True, text=True, check=False).stdout
    assert f"pid={process.pid}," not in tcp, "no TCP port"
    os.close(life)
    assert process.wait(timeout=GONE_WITHIN_S) == 0
    assert not directory.exists()


def test_a_killed_local_runtime_is_swept_by_the_next() -> None:
    process, facts, life = start_local()
    process.kill()
    process.wait()
    os.close(life)
    process, other, life = start_local()
    assert not pathlib.Path(facts["runtime_dir"]).exists()
    os.close(life)
    process.wait(timeout=GONE_WITHIN_S)


def test_a_local_runtime_that_cannot_start_says_why() -> None:
    process, facts, life = start_local("--num-cpus", "minus one")
    assert "--num-cpus wants a number" in facts["error"]
    assert process.wait(timeout=GONE_WITHIN_S) == FAILED
    os.close(life)
