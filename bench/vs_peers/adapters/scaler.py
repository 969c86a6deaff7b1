"""OpenGRIS Scaler: a scheduler, an object storage server and workers on this machine."""

import adapter
import futures
import scaler


class Adapter(futures.FuturesAdapter):
    def __init__(self) -> None:
        self.cluster = scaler.SchedulerClusterCombo(n_workers=adapter.WORKERS, logging_paths=("/dev/null",))
        self.client = scaler.Client(address=self.cluster.get_address())
        self.batch(10 * adapter.WORKERS)

    def submit(self) -> object:
        return self.client.submit(adapter.nothing)

    def close(self) -> None:
        self.client.disconnect()
        self.cluster.shutdown()
