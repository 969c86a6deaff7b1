"""Shoal."""

import adapter

import shoal


class Adapter(adapter.Adapter):
    has_actors = True

    def __init__(self) -> None:
        shoal.init(address="local", num_cpus=adapter.WORKERS, log_to_driver=False)
        self.task = shoal.remote(adapter.nothing)
        self.batch(10 * adapter.WORKERS)
        self.actor = shoal.remote(num_cpus=0)(adapter.Server).remote()

    def call(self) -> None:
        shoal.get(self.task.remote())

    def batch(self, count: int) -> None:
        shoal.get([self.task.remote() for _ in range(count)])

    def actor_call(self) -> None:
        shoal.get(self.actor.nothing.remote())

    def actor_batch(self, count: int) -> None:
        shoal.get([self.actor.nothing.remote() for _ in range(count)])

    def close(self) -> None:
        shoal.shutdown()
