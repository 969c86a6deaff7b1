"""Libraries whose results are futures with a result()."""

from __future__ import annotations

import abc
from typing import Any

import adapter


class FuturesAdapter(adapter.Adapter):
    @abc.abstractmethod
    def submit(self) -> Any:
        """Submits one task."""

    def call(self) -> None:
        self.submit().result()

    def batch(self, count: int) -> None:
        for future in [self.submit() for _ in range(count)]:
            future.result()


class ExecutorAdapter(FuturesAdapter):
    """An executor like those of concurrent.futures, with its workers started."""

    def __init__(self, executor: Any) -> None:
        self.executor = executor
        self.batch(10 * adapter.WORKERS)

    def submit(self) -> Any:
        return self.executor.submit(adapter.nothing)

    def close(self) -> None:
        self.executor.shutdown()
