"""The standard library's ProcessPoolExecutor."""

import concurrent.futures

import adapter
import futures


class Adapter(futures.ExecutorAdapter):
    def __init__(self) -> None:
        super().__init__(concurrent.futures.ProcessPoolExecutor(adapter.WORKERS))
