"""loky, the executor below joblib and scikit-learn."""

import adapter
import futures
import loky


class Adapter(futures.ExecutorAdapter):
    def __init__(self) -> None:
        super().__init__(loky.ProcessPoolExecutor(adapter.WORKERS))
