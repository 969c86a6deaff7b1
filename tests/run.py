"""Runs the test suites and adds up their results.

    build/venv/bin/python tests/run.py --build build/dev [--slow]

Suites: ctest (labels unit, sim, integration, tidy; with --slow also slow) and pytest over python/tests and tests/integration.
A build with sanitizers (presets asan, tsan) is recognised: whatever they find in any process fails the test that started it.
The last line reads "N passed, N failed"; the exit status is 0 only if nothing failed.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

ROOT = pathlib.Path(__file__).resolve().parent.parent


def count(report: pathlib.Path) -> tuple[int, int]:
    """Passed and failed test cases of a JUnit file; a missing report counts as one failure."""
    if not report.exists():
        return 0, 1
    passed = failed = 0
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        if case.find("failure") is not None or case.find("error") is not None:
            failed += 1
        elif case.find("skipped") is None:
            passed += 1
    return passed, failed


def run_suite(name: str, command: list[str], report: pathlib.Path, env: dict[str, str]) -> tuple[int, int]:
    report.unlink(missing_ok=True)
    status = subprocess.run(command, cwd=ROOT, env=env, check=False).returncode
    passed, failed = count(report)
    if status != 0 and failed == 0:
        failed = 1
    print(f"{name}: {passed} passed, {failed} failed", flush=True)
    return passed, failed


def sanitizers(build: pathlib.Path) -> str:
    """What the build was compiled with: "", "thread" or "address,undefined"."""
    for line in (build / "CMakeCache.txt").read_text().splitlines():
        if line.startswith("SHOAL_SANITIZE:"):
            return line.split("=", 1)[1]
    return ""


def preload(sanitizer: str) -> str:
    """The libraries that a Python without sanitizers must load first: its runtime, and what that looks for (__cxa_throw)."""
    names = [{"thread": "libtsan.so", "address,undefined": "libasan.so"}[sanitizer], "libstdc++.so"]
    found = [subprocess.run(["c++", f"-print-file-name={name}"], capture_output=True, text=True, check=True) for name in names]
    return " ".join(path.stdout.strip() for path in found)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, required=True, help="build folder of the preset to test")
    parser.add_argument("--slow", action="store_true", help="also run the tests labelled slow")
    arguments = parser.parse_args()
    build = (ROOT / arguments.build).resolve()

    env = dict(os.environ)
    env["PYTHONPATH"] = str(build / "python")
    env["SHOAL_PYTHON"] = sys.executable
    env["SHOAL_BINARY"] = str(build / "runtime/bin/shoal")
    env["SHOAL_RUNTIME_DIR"] = str(build / "no-runtime")  # or tests would join one that runs on this machine
    env.pop("SHOAL_ADDRESS", None)
    sanitizer = sanitizers(build)
    if sanitizer:
        env["SHOAL_SANITIZE"] = sanitizer
        env["UBSAN_OPTIONS"] = "halt_on_error=1:print_stacktrace=1"
        env["TSAN_OPTIONS"] = f"halt_on_error=1:suppressions={ROOT / 'tests/tsan.supp'}"

    # GoogleTest programs report each case; ctest alone would count a program as one test.
    reports = build / "reports"
    reports.mkdir(exist_ok=True)
    for old in reports.glob("*.xml"):
        old.unlink()
    env["GTEST_OUTPUT"] = f"xml:{reports}/"
    ctest_report = build / "ctest.xml"
    command = ["ctest", "--test-dir", str(build), "--output-on-failure", "--output-junit", str(ctest_report), "-j", "2"]
    if not arguments.slow:
        command += ["-LE", "slow"]
    programs_passed, programs_failed = run_suite("ctest programs", command, ctest_report, env)
    cases = [count(report) for report in reports.glob("*.xml")]
    cases_passed = sum(passed for passed, _ in cases)
    cases_failed = sum(failed for _, failed in cases)
    other_programs = max(programs_passed + programs_failed - len(cases), 0)
    passed = cases_passed + max(min(other_programs, programs_passed), 0)
    failed = max(cases_failed, programs_failed)

    del env["GTEST_OUTPUT"]
    pytest_report = build / "pytest.xml"
    pytest = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "python/tests", "tests/integration",
              f"--junitxml={pytest_report}"]
    if not arguments.slow:
        pytest += ["-m", "not slow"]
    if sanitizer:
        # Python itself keeps much until it exits; what our side leaks shows in the C++ tests.
        env["ASAN_OPTIONS"] = "detect_leaks=0"
        env["LD_PRELOAD"] = preload(sanitizer)
    python_passed, python_failed = run_suite("pytest", pytest, pytest_report, env)

    print(f"{passed + python_passed} passed, {failed + python_failed} failed")
    return 1 if failed + python_failed else 0


if __name__ == "__main__":
    sys.exit(main())
