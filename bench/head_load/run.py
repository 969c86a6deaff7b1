#!/usr/bin/env python3
"""Measures the head under a load of many raylets, over the real wire, and writes bench/results/head.json.

    bench/head_load/run.py [--nodes 100 1000 10000] [--seconds 5] [--json bench/results/head.json]

For each number of nodes: starts `shoal start --head --no-raylet` and as many processes `head_load` as the descriptor
limit asks for, then leases at 95 % of all CPUs, the same while nodes leave and join, actors, and placement groups.
CPU time is that of the head's process, apart for the thread that decides and those that encrypt.
"""

import argparse
import json
import os
import pathlib
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
NODES_PER_PROCESS = 3_000
OWNERS = 32
UNDER_WAY = 128  # actors or groups
WARM_UP_S = 2.2
DECISION_TIMES = ("decision_p50_us", "decision_p99_us", "decision_max_us", "turn_p99_us")
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")

Row = dict[str, Any]


class Head:
    """A head alone, in a directory of its own."""

    def __init__(self, build: pathlib.Path) -> None:
        self.shoal = build / "runtime/bin/shoal"
        self.directory = tempfile.mkdtemp(prefix="shoal-head-load-")
        self._shoal("start", "--head", "--no-raylet", "--port", "0", "--json")
        self.pid = int(self._shoal("status", "--json", parse=True)["head_pid"])

    def _shoal(self, *words: str, parse: bool = False) -> Any:
        command = [str(self.shoal), *words, "--runtime-dir", self.directory]
        out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        return json.loads(out) if parse else out

    def count_anew(self) -> None:
        self._shoal("list", "head", "anew")

    def times(self) -> Row:
        row: Row = self._shoal("list", "head", "--json", parse=True)[0]
        return row

    def cpu(self) -> tuple[float, float]:
        """Seconds of the thread that decides, and of all others."""
        main, others = 0.0, 0.0
        for task in pathlib.Path(f"/proc/{self.pid}/task").iterdir():
            fields = (task / "stat").read_text().rpartition(")")[2].split()
            seconds = (int(fields[11]) + int(fields[12])) / CLOCK_TICKS
            if task.name == str(self.pid):
                main = seconds
            else:
                others += seconds
        return main, others

    def memory_mib(self) -> float:
        for line in pathlib.Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return round(int(line.split()[1]) / 1024, 1)
        return 0.0

    def stop(self) -> None:
        self._shoal("stop")
        shutil.rmtree(self.directory, ignore_errors=True)


class Fleet:
    """Processes that play the nodes."""

    def __init__(self, build: pathlib.Path, head: Head, nodes: int, hold_ms: int) -> None:
        parts = -(-nodes // NODES_PER_PROCESS)
        began = time.monotonic()
        common = ["--runtime-dir", head.directory, "--parts", str(parts), "--nodes", str(nodes // parts)]
        common += ["--hold-ms", str(hold_ms), "--owners", str(-(-OWNERS // parts))]
        self.parts = [
            subprocess.Popen(
                [build / "bench/head_load", *common, "--part", str(i)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for i in range(parts)
        ]
        for part in self.parts:
            self._answer(part)
        self.join_s = time.monotonic() - began

    def _answer(self, part: subprocess.Popen[str]) -> Row:
        assert part.stdout is not None
        line = part.stdout.readline()
        if not line:
            sys.exit(f"head_load ended with {part.wait()}")
        answer: Row = json.loads(line)
        return answer

    def begin(self, command: str) -> None:
        for part in self.parts:
            assert part.stdin is not None
            part.stdin.write(command + "\n")
            part.stdin.flush()

    def end(self) -> list[Row]:
        return [self._answer(part) for part in self.parts]

    def stop(self) -> None:
        for part in self.parts:
            assert part.stdin is not None
            part.stdin.close()
            part.wait()


def measure(head: Head, fleet: Fleet, command: str, seconds: float) -> Row:
    """One command, from the moment at which it has warmed up."""
    fleet.begin(command)
    time.sleep(WARM_UP_S)
    head.count_anew()
    began, cpu = time.monotonic(), head.cpu()
    time.sleep(seconds - 0.2)
    times, took, after = head.times(), time.monotonic() - began, head.cpu()
    answers = fleet.end()

    def per_second(what: str) -> float:
        return float(sum(answer[what] / answer["seconds"] for answer in answers))

    row: Row = {
        "command": command,
        "head_cpu": round((after[0] - cpu[0]) / took, 3),
        "head_io_cpu": round((after[1] - cpu[1]) / took, 3),
        "load_cpu": round(per_second("cpu_s"), 3),
        "head_turns_per_s": round(times["turns"] / took),
    }
    if "granted" in answers[0]:
        row["decisions_per_s"] = round(times["decisions"] / took)
        row["granted_per_s"] = round(per_second("granted"))
        row["decisions_per_head_cpu_s"] = round(row["decisions_per_s"] / max(row["head_cpu"], 0.01))
        row |= {name: round(times[name], 2) for name in DECISION_TIMES}
    else:
        row["created_per_s"] = round(per_second("created"))
    row["p50_ms"], row["p99_ms"] = round(answers[0]["p50_ms"], 2), round(max(answer["p99_ms"] for answer in answers), 2)
    return row


def cluster(options: argparse.Namespace, nodes: int) -> Row:
    build = ROOT / options.build
    head = Head(build)
    fleet = None
    try:
        fleet = Fleet(build, head, nodes, options.hold_ms)
        parts = len(fleet.parts)
        row: Row = {"nodes": nodes, "processes": parts, "join_s": round(fleet.join_s, 1)}
        row["head_rss_mib"] = head.memory_mib()
        commands = {
            "leases": f"leases 0.95 {options.seconds}",
            "churn": f"leases 0.95 {options.seconds} {nodes / 100 / parts}",
            "actors": f"actors {UNDER_WAY // parts} {options.seconds}",
            "groups": f"groups {UNDER_WAY // parts} {options.seconds}",
        }
        for name in options.only or commands:
            row[name] = measure(head, fleet, commands[name], options.seconds)
            print(json.dumps({"nodes": nodes, name: row[name]}), flush=True)
        return row
    finally:
        if fleet is not None:
            fleet.stop()
        head.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, nargs="+", default=[100, 1_000, 10_000])
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--hold-ms", type=int, default=100, help="how long a lease is kept")
    parser.add_argument("--only", nargs="+", choices=["leases", "churn", "actors", "groups"])
    parser.add_argument("--build", default="build/release")
    parser.add_argument("--json", type=pathlib.Path, help="where the results go, beside what is there")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    rows = [cluster(options, nodes) for nodes in options.nodes]
    if options.json is None:
        return
    results = json.loads(options.json.read_text()) if options.json.exists() else {}
    machine = {"cpus": os.cpu_count(), "kernel": platform.release(), "load_before": round(load, 2)}
    command = "bench/head_load/run.py " + " ".join(sys.argv[1:])
    results["wire"] = {"command": command, "machine": machine, "rows": rows}
    options.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
