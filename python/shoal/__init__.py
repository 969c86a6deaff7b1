"""Shoal: functions, actors and objects over one machine or many, with Ray's API.

    import shoal

    @shoal.remote
    def square(x):
        return x * x

    print(shoal.get([square.remote(i) for i in range(4)]))

The runtime is C++ (ARCHITECTURE.md); this package is its Python side. What differs from Ray: docs/differences.md.
"""

from shoal import exceptions as exceptions  # before the extension, whose hooks make them
from shoal._shoal import ObjectRef, get, put, wait

# isort: split
from shoal._internal import cluster as _cluster  # noqa: F401 - sets the hooks of _shoal
from shoal._internal import errors as _errors  # noqa: F401
from shoal._internal import serialization as _serialization  # noqa: F401
from shoal._internal.state import available_resources, cluster_resources, nodes
from shoal import actor, util
from shoal.actor import ActorClass, ActorHandle, get_actor, method
from shoal.api import cancel, init, is_initialized, kill, remote, shutdown
from shoal.remote_function import RemoteFunction
from shoal.runtime_context import get_gpu_ids, get_runtime_context

__version__ = "0.1.0"

_NOT_HERE = ("air", "client", "dag", "data", "job_submission", "rllib", "serve", "timeline", "train", "tune")


def __getattr__(name: str) -> object:
    if name in _NOT_HERE:
        raise AttributeError(f"Shoal has no {name!r}, which Ray has: see docs/differences.md.")
    raise AttributeError(f"module 'shoal' has no attribute {name!r}")


__all__ = [
    "ActorClass",
    "ActorHandle",
    "ObjectRef",
    "RemoteFunction",
    "actor",
    "available_resources",
    "cancel",
    "cluster_resources",
    "exceptions",
    "get",
    "get_actor",
    "get_gpu_ids",
    "get_runtime_context",
    "init",
    "is_initialized",
    "kill",
    "method",
    "nodes",
    "put",
    "remote",
    "shutdown",
    "util",
    "wait",
]
