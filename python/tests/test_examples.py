"""The examples do what their texts say."""

import pathlib
import subprocess
import sys

import pytest

EXAMPLES = pathlib.Path(__file__).parents[2] / "examples" / "python"
EXPECTED = {
    "tasks.py": "pi is about 3.14\n",
    "actors.py": "balance [10, 30, 60]\nbalance 100\nrefused: Ada cannot deposit -1\n",
    "nested.py": "sorted\n",
    "pipeline.py": "variance 1.000\n",
    "asyncio_actor.py": "guest 0 met 199 others\nguest 199 met 199 others\n",
    "placement_groups.py": "free beside the group: 1.0\n"
    + "".join(f"rank {rank} of 3 in a group of 3 bundles\n" for rank in range(3)),
}


def test_every_example_has_an_expected_output():
    assert {path.name for path in EXAMPLES.glob("*.py")} == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_example(name):
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name)], capture_output=True, text=True, timeout=90, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == EXPECTED[name]
