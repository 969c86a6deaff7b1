"""Counts the instructions and heap allocations of fixed scenarios, and compares them with bench/instructions.json.

    python bench/instructions.py --build build/dev             # exit 1 if a scenario takes over 3 % more instructions
    python bench/instructions.py --build build/dev --record    # keeps what was counted

Counts are those of callgrind (valgrind), per round of a scenario (bench/instructions.cc): they repeat exactly with the
same build type, compiler and libraries. What grew is printed by function. A change that is worth its price is recorded
with it.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
STORED = ROOT / "bench/instructions.json"
ROUNDS = 500
MOST_GROWTH = 1.03
KEPT_FUNCTIONS = 12
NOTHING_TO_COMPARE = 77  # a test that ends with it was skipped
FUNCTION = re.compile(r"^fn=\((\d+)\)(?: (.*))?$")
CALLED = re.compile(r"^calls=")
COST = re.compile(r"^(?:[+*-]?\d*|\*) (\d+)$")


def count(program: pathlib.Path, scenario: str) -> dict:
    """Instructions and allocations of one round, and the functions that take most of the former."""
    allocations = subprocess.run([program, scenario, str(ROUNDS)], capture_output=True, text=True, check=True).stdout
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "callgrind.out"
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", "--toggle-collect=Measured"]
        subprocess.run([*command, program, scenario, str(ROUNDS)], capture_output=True, text=True, check=True)
        functions = by_function(out.read_text())
    top = sorted(functions.items(), key=lambda item: -item[1])[:KEPT_FUNCTIONS]
    return {
        "instructions": round(sum(functions.values()) / ROUNDS, 1),
        "allocations": float(allocations),
        "functions": {name: round(cost / ROUNDS, 1) for name, cost in top},
    }


def by_function(profile: str) -> dict[str, int]:
    """Self cost of each function in callgrind's output (format: valgrind manual, "Callgrind Format Specification")."""
    names: dict[str, str] = {}
    costs: dict[str, int] = {}
    current, after_call = "", False
    for line in profile.splitlines():
        if found := FUNCTION.match(line):
            if found[2]:
                names[found[1]] = short(found[2])
            current = names[found[1]]
        elif CALLED.match(line):
            after_call = True  # the next line is what the callee took
        elif found := COST.match(line):
            if not after_call:
                costs[current] = costs.get(current, 0) + int(found[1])
            after_call = False
        elif found := re.match(r"^c?fn=\((\d+)\) (.*)$", line):
            names[found[1]] = short(found[2])
    return costs


def short(name: str) -> str:
    """Without template arguments and parameters, which make names of kilobytes."""
    plain = name.replace("(anonymous namespace)::", "")
    while (shorter := re.sub(r"<[^<>]*>", "", plain)) != plain:
        plain = shorter
    return plain.split("(")[0][:100]


def kind_of(build: pathlib.Path) -> str:
    """The build's type and its compiler, whose counts alone can be compared."""
    cache = (build / "CMakeCache.txt").read_text()
    settings = dict(re.findall(r"^(CMAKE_BUILD_TYPE|CMAKE_CXX_COMPILER):\w+=(.*)$", cache, re.M))
    asked = [settings["CMAKE_CXX_COMPILER"], "-dumpfullversion"]
    version = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    return f"{settings['CMAKE_BUILD_TYPE']}, compiler {version}"


def compare(scenario: str, now: dict, kept: dict) -> bool:
    """Prints the row; True if nothing grew."""
    growth = now["instructions"] / kept["instructions"]
    allocates_more = now["allocations"] > kept["allocations"] + 0.01
    bad = growth > MOST_GROWTH or allocates_more
    print(
        f"{scenario:16}{now['instructions']:>10,.0f} instructions ({growth - 1:+.1%})"
        f"{now['allocations']:>8.2f} allocations (kept: {kept['allocations']:.2f}){'  GREW' if bad else ''}"
    )
    if bad:
        grown = {name: cost - kept["functions"].get(name, 0) for name, cost in now["functions"].items()}
        for name, more in sorted(grown.items(), key=lambda item: -item[1])[:5]:
            if more > 0:
                print(f"    {more:+8.1f}  {name}")
    return not bad


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, required=True, help="whose bench/instructions is run")
    parser.add_argument("--record", action="store_true")
    arguments = parser.parse_args()
    program = arguments.build.resolve() / "bench/instructions"
    kind = kind_of(arguments.build)
    stored = json.loads(STORED.read_text()) if STORED.exists() else {}
    if kind not in stored and not arguments.record:
        print(f"no counts are kept for {kind}; --record keeps some")
        return NOTHING_TO_COMPARE
    scenarios = subprocess.run([program], capture_output=True, text=True, check=True).stdout.split()
    counted = {scenario: count(program, scenario) for scenario in scenarios}
    if arguments.record:
        stored[kind] = counted
        STORED.write_text(json.dumps(stored, indent=1, sort_keys=True) + "\n")
    kept = stored[kind]
    unknown = [scenario for scenario in scenarios if scenario not in kept]
    if unknown:
        print(f"no count is kept of {', '.join(unknown)}; --record keeps it", file=sys.stderr)
        return 1
    grew = [scenario for scenario in scenarios if not compare(scenario, counted[scenario], kept[scenario])]
    return 1 if grew else 0


if __name__ == "__main__":
    sys.exit(main())
