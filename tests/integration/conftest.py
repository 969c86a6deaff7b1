"""Every integration test ends with the leak audit."""

from __future__ import annotations

import pathlib
import sys
from collections.abc import Iterator

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from audit import Snapshot  # noqa: E402


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slow: takes long; left out of the default run")


@pytest.fixture(autouse=True)
def nothing_is_left_behind() -> Iterator[None]:
    before = Snapshot.take()
    yield
    import shoal

    if shoal.is_initialized():
        shoal.shutdown()
    before.assert_clean_again()
