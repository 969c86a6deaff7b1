"""How an actor's calls run: in threads of the C++ loop, the main one first, or on an event loop.

The machine hands out no more calls at a time than max_concurrency and the concurrency groups allow, in the order in
which they came; each starts at once.
"""

from __future__ import annotations

from typing import Any

from shoal import _shoal
from shoal._internal import limits


class Executor:
    """Calls run in the C++ loop (python/bindings/call_threads.h): only the constructor comes here."""

    def __init__(self, threads: int) -> None:
        self.threads = threads  # at most; 0: `serve` fetches the calls

    def create(self, task: _shoal.Task, cls: Any) -> Any:
        """Makes the instance."""
        return task.call(cls)

    def serve(self) -> None:
        """Fetches calls and runs them until the process is to exit."""
        raise NotImplementedError

    def cancel(self, task_id: str) -> None:
        """Stops a call that runs in no thread of its own."""


def make(options: dict[str, Any]) -> Executor:
    """The executor that an actor's options ask for."""
    if options.get("asyncio"):
        from shoal._internal.asyncio_executor import AsyncioExecutor  # only then: asyncio is large

        return AsyncioExecutor()
    groups: dict[str, int] = options.get("concurrency_groups") or {}
    return Executor(min(options.get("max_concurrency", 1) + sum(groups.values()), limits.COUNT))
