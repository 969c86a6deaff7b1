"""The process that workers are forked from: Python, Shoal and what drivers use; one thread, no connection.

    PYTHON -m shoal._internal.zygote      with a SOCK_SEQPACKET unix socket as descriptor 3

A request is one datagram of JSON, {"worker": hex, "job": hex, "socket": path, "env": {...}}, with two descriptors: the
new worker's stdout and stderr. The answer is {"worker": hex, "pid": N} or {"worker": hex, "error": text}. The worker is
a grandchild: the process between ends at once, so that the worker's parent is the raylet. End of file ends the zygote.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import signal
import socket
import sys
from collections.abc import Iterable
from typing import Any

from shoal._internal.cluster import PREIMPORT, PREIMPORTED

_DESCRIPTOR = 3
_MAX_REQUEST = 4 << 20  # as runtime/io/zygote.cc
_failed: set[str] = set()  # to import
# Keeps libraries from starting threads when they are imported: a fork would lose them.
_THREAD_SETTINGS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def _import(names: Iterable[str]) -> None:
    """Before a fork, once for all workers. What is not installed is left to the worker."""
    missing = [name for name in names if name not in sys.modules and name not in _failed]
    if not missing:
        return
    saved = {name: os.environ.get(name) for name in _THREAD_SETTINGS}
    os.environ.update(dict.fromkeys(_THREAD_SETTINGS, "1"))
    for name in missing:
        try:
            importlib.import_module(name)
        except Exception:
            _failed.add(name)
    for name, value in saved.items():
        if value is None:
            del os.environ[name]
        else:
            os.environ[name] = value
    gc.collect()
    gc.freeze()


def _become_worker(request: dict[str, Any], descriptors: list[int]) -> None:
    for target, source in ((1, descriptors[0]), (2, descriptors[1])):
        os.dup2(source, target)
    for descriptor in (*descriptors, _DESCRIPTOR):
        if descriptor > 2:
            os.close(descriptor)
    os.setpgid(0, 0)
    for file, text in (("comm", "shoal-worker"), ("oom_score_adj", "800")):  # the first to go when memory runs out
        with contextlib.suppress(OSError), open(f"/proc/self/{file}", "w") as setting:
            setting.write(text)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()
    gc.enable()
    from shoal._internal import worker

    worker.main(request["worker"], request["job"], request["socket"], dict(request.get("env") or {}))


def _fork_worker(request: dict[str, Any], descriptors: list[int]) -> int:
    """Forks twice and returns the grandchild's process id."""
    receive, send = os.pipe()
    between = os.fork()
    if between == 0:
        status = 1
        try:
            os.close(receive)
            child = os.fork()
            if child == 0:
                os.close(send)
                _become_worker(request, descriptors)
            os.write(send, str(child).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(send)
    with os.fdopen(receive, "rb") as pipe:
        answer = pipe.read()
    os.waitpid(between, 0)
    if not answer:
        raise OSError("the second fork failed")
    return int(answer)


def _serve(connection: socket.socket) -> None:
    while True:
        data, descriptors, _, _ = socket.recv_fds(connection, _MAX_REQUEST, 4)
        if not data:
            return
        answer: dict[str, Any] = {"worker": ""}
        try:
            request = json.loads(data)
            answer["worker"] = request["worker"]
            if len(descriptors) != 2:
                raise ValueError(f"a request comes with two descriptors, not {len(descriptors)}")
            _import(name for name in (request.get("env") or {}).get(PREIMPORT, "").split(",") if name in PREIMPORTED)
            answer["pid"] = _fork_worker(request, descriptors)
        except (OSError, ValueError, KeyError) as error:
            answer["error"] = f"{type(error).__name__}: {error}"
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        connection.send(json.dumps(answer).encode())


def main() -> None:
    """Serves until the raylet goes away."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.close(null)
    gc.disable()
    _import(["shoal._internal.worker"])
    with socket.socket(fileno=_DESCRIPTOR) as connection:
        try:
            _serve(connection)
        except (ConnectionError, BrokenPipeError):
            pass


if __name__ == "__main__":
    main()
