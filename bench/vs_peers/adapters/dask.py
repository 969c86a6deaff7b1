"""Dask distributed: a scheduler and single-threaded worker processes on this machine; without its dashboard."""

import adapter
import distributed


class Adapter(adapter.Adapter):
    has_actors = True

    def __init__(self) -> None:
        self.cluster = distributed.LocalCluster(n_workers=adapter.WORKERS, threads_per_worker=1, dashboard_address=None)
        self.client = distributed.Client(self.cluster)
        self.client.wait_for_workers(adapter.WORKERS)
        self.batch(10 * adapter.WORKERS)
        self.actor = self.client.submit(adapter.Server, actor=True).result()

    def call(self) -> None:
        # pure=False: without it equal calls are one task.
        self.client.submit(adapter.nothing, pure=False).result()

    def batch(self, count: int) -> None:
        self.client.gather([self.client.submit(adapter.nothing, pure=False) for _ in range(count)])

    def actor_call(self) -> None:
        self.actor.nothing().result()

    def actor_batch(self, count: int) -> None:
        for future in [self.actor.nothing() for _ in range(count)]:
            future.result()

    def close(self) -> None:
        self.client.close()
        self.cluster.close()
