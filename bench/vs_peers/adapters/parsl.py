"""Parsl's HighThroughputExecutor with one block of workers on this machine."""

import adapter
import futures
import parsl
from parsl.providers import LocalProvider


class Adapter(futures.FuturesAdapter):
    def __init__(self) -> None:
        block = LocalProvider(init_blocks=1, min_blocks=1, max_blocks=1)
        options = {"address": "127.0.0.1", "max_workers_per_node": adapter.WORKERS, "provider": block}
        executor = parsl.HighThroughputExecutor(**options)
        self.kernel = parsl.load(parsl.Config(executors=[executor], strategy="none"))
        self.app = parsl.python_app(adapter.nothing)
        self.batch(10 * adapter.WORKERS)

    def submit(self) -> object:
        return self.app()

    def close(self) -> None:
        self.kernel.cleanup()
