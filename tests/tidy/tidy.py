"""House rules as tests: who may include whom, what a pure room may not touch, how long things may be.

    python3 tests/tidy/tidy.py [--headers COMPILER]   # with --headers each header is also compiled alone

Lengths are a ratchet: functions longer than the aim are listed in tests/tidy/long_functions.txt with their length and may
shrink but not grow; entries that are no longer needed are errors too.
"""

import argparse
import concurrent.futures
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
RATCHET = ROOT / "tests/tidy/long_functions.txt"
MAX_FILE_LINES = 800
MAX_FUNCTION_LINES = 70

PURE = ["scheduler", "objectstore/core", "runtime/session", "runtime/raylet", "runtime/core_worker"]
SHELLS = ["objectstore/shm", "objectstore/bulk", "runtime/io"]
# Longest prefix wins. A room may always include itself.
ROOMS = ["base", "schema/codec", "schema", *PURE, *SHELLS, "runtime/sdk", "runtime/bin", "python", "examples", "bench",
         "tests"]
BELOW_SHELLS = ["base", "schema", *PURE]
MAY_INCLUDE = {
    "base": [],
    "schema": ["base"],
    "schema/codec": ["base", "schema"],
    **{room: ["base", "schema"] for room in PURE},
    **{room: [*BELOW_SHELLS, "schema/codec", *SHELLS] for room in SHELLS},
    "runtime/sdk": [*BELOW_SHELLS, "schema/codec", *SHELLS],
}
MAY_INCLUDE["runtime/raylet"] = ["base", "schema", "objectstore/core"]
FORBIDDEN_IN_PURE = re.compile(
    r"#include <(thread|mutex|condition_variable|random|fstream|filesystem|sys/|unistd|zmq|iostream|cstdio|ctime)"
    r"|::now\(\)|std::random_device|getenv\(|std::this_thread")
FLAT_ITERATION = re.compile(r"for *\(.*(flat_hash|unordered_)")


def sources(*suffixes: str) -> list[pathlib.Path]:
    listed = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, check=True,
                            capture_output=True, text=True).stdout.split()
    return [pathlib.Path(name) for name in listed if name.endswith(suffixes) and (ROOT / name).exists()]


def room_of(path: str) -> str | None:
    fitting = [room for room in ROOMS if path == room or path.startswith((room + "/", room + "."))]
    if re.match(r"schema/codec", path):
        return "schema/codec"
    return max(fitting, key=len) if fitting else None


def check_includes(path: pathlib.Path, lines: list[str]) -> list[str]:
    room = room_of(str(path))
    problems = []
    allowed = MAY_INCLUDE.get(room) if room else None
    for number, line in enumerate(lines, 1):
        match = re.match(r'#include "([^"]+)"', line)
        if match and (target := room_of(match[1])) and allowed is not None and target != room and target not in allowed:
            problems.append(f"{path}:{number}: {room} may not include {target}")
        is_test = path.stem.endswith(("_test", "_test_util", "_testing"))
        if room in PURE and not is_test and FORBIDDEN_IN_PURE.search(line):
            problems.append(f"{path}:{number}: a pure room touches the world: {line.strip()}")
        if room in PURE and not is_test and FLAT_ITERATION.search(line):
            problems.append(f"{path}:{number}: iterates a hash table in a pure room")
    return problems


def function_lengths(path: pathlib.Path, lines: list[str]) -> dict[str, int]:
    """Lengths of the functions of a clang-formatted file: from a line that opens a body at column 0 to its `}`."""
    lengths: dict[str, int] = {}
    start: int | None = None
    for number, line in enumerate(lines):
        if start is None and re.match(r"^[A-Za-z_~].*\{$", line) and not re.match(
                r"^(namespace|class|struct|enum|union|extern)\b", line):
            start = number
        elif start is None and re.match(r"^ {4,}.*\) *(const)? *\{$", line):
            # A signature over several lines: walk back to where it began.
            begin = number
            while begin > 0 and lines[begin].startswith(" "):
                begin -= 1
            if re.match(r"^[A-Za-z_~]", lines[begin]) and not re.match(r"^(namespace|class|struct|enum)", lines[begin]):
                start = begin
        elif start is not None and line.startswith("}"):
            name = re.search(r"([A-Za-z_~][\w:~]*)\(", " ".join(lines[start:start + 2]))
            key = f"{path}:{name[1] if name else start + 1}"
            lengths[key] = max(lengths.get(key, 0), number - start + 1)
            start = None
    return lengths


def check_lengths(files: dict[pathlib.Path, list[str]], update: bool) -> list[str]:
    problems = [f"{path}: {len(lines)} lines, {MAX_FILE_LINES} at most"
                for path, lines in files.items() if len(lines) > MAX_FILE_LINES]
    long = {}
    for path, lines in files.items():
        if path.suffix in (".cc", ".h"):
            long.update({k: n for k, n in function_lengths(path, lines).items() if n > MAX_FUNCTION_LINES})
    if update:
        RATCHET.write_text("".join(f"{key} {length}\n" for key, length in sorted(long.items())))
    known = {}
    if RATCHET.exists():
        known = {key: int(length) for key, length in (line.rsplit(" ", 1) for line in RATCHET.read_text().splitlines())}
    for key, length in sorted(long.items()):
        if length > known.get(key, MAX_FUNCTION_LINES):
            problems.append(f"{key}: {length} lines, {known.get(key, MAX_FUNCTION_LINES)} at most")
    problems += [f"{key}: no longer long, remove it from {RATCHET.relative_to(ROOT)}" for key in known if key not in long]
    return problems


def check_headers(compiler: str) -> list[str]:
    """Each header of the C++ rooms compiles as the only line of a file."""
    flags = ["-std=c++20", "-fsyntax-only", f"-I{ROOT}", f"-I{ROOT}/build/dev", "-x", "c++", "-w"]
    headers = [path for path in sources(".h") if room_of(str(path)) not in (None, "python")]

    def compile_alone(header: pathlib.Path) -> str | None:
        done = subprocess.run([compiler, *flags, str(ROOT / header)], capture_output=True, text=True, check=False)
        return None if done.returncode == 0 else f"{header} does not compile alone: {done.stderr.splitlines()[:2]}"

    with concurrent.futures.ThreadPoolExecutor(max_workers=2) as pool:
        return [problem for problem in pool.map(compile_alone, headers) if problem]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--headers", metavar="COMPILER", help="also compile each header alone")
    parser.add_argument("--update", action="store_true", help="write the ratchet from the tree as it is")
    arguments = parser.parse_args()

    problems: list[str] = []
    files = {path: (ROOT / path).read_text(errors="replace").splitlines()
             for path in sources(".h", ".cc", ".py", ".capnp")}
    for path, lines in files.items():
        if path.suffix in (".h", ".cc"):
            problems += check_includes(path, lines)
    problems += check_lengths(files, arguments.update)
    if arguments.headers:
        problems += check_headers(arguments.headers)
    for problem in problems:
        print(problem)
    print(f"tidy: {len(files)} files, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
