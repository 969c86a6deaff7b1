"""Remote functions: `@remote` on a function makes one of these."""

from __future__ import annotations

import functools
import inspect
import pickle
from collections.abc import Callable
from typing import Any, NoReturn

from shoal import _options, _shoal
from shoal._internal import cluster, limits, serialization

_DEFAULT_MAX_RETRIES = 3


class Code:
    """A function or class as bytes, made when it is first sent, so that it may name what is defined after it."""

    def __init__(self, target: Any) -> None:
        self.target = target
        self._bytes: bytes | None = None
        self._id = 0

    def export(self) -> tuple[int, bytes]:
        """(FunctionId, bytes)"""
        if self._bytes is None:
            data = serialization.dumps_code(self.target)
            if len(data) > limits.CODE_BYTES:
                raise ValueError(
                    f"{self.target.__qualname__} takes {len(data) >> 20} MiB when pickled, "
                    f"{limits.CODE_BYTES >> 20} MiB at most: put large values with put() and pass the references."
                )
            import hashlib  # where functions are only run, it is not needed

            self._id = int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little") or 1
            self._bytes = data
        return self._id, self._bytes


def call_extras(options: dict[str, Any]) -> dict[str, Any]:
    """What the worker has to know about a call beyond its arguments; mostly nothing."""
    found: dict[str, Any] = {}
    if options.get("max_calls"):
        found["max_calls"] = options["max_calls"]
    classes = options.get("retry_exceptions")
    if isinstance(classes, (list, tuple)):
        found["retry_exceptions"] = serialization.dumps_code(tuple(classes))
    return found


def extras(options: dict[str, Any]) -> dict[str, Any]:
    """The same about a task or an actor, which may run in a placement group."""
    found = call_extras(options)
    group, _, capture = _options.placement_of(options)
    if group is not None:
        found["placement_group"] = (group.id, group.bundle_specs, capture)
    return found


def packed(found: dict[str, Any]) -> bytes:
    """Extras as they travel."""
    return pickle.dumps(found, 5) if found else b""


def register_shape(options: dict[str, Any], amounts: dict[str, float]) -> int:
    """The shape of an options dict in the current session."""
    env = {**cluster.inherited_env(), **_options.env_vars(options)}
    return _shoal.register_shape(amounts, _options.strategy_tuple(options), _options.label_selector(options), env, 0)


class _Plan:
    """Readies a submitter for the current session; apart from RemoteFunction so that nothing points in a circle."""

    def __init__(self, code: Code, options: dict[str, Any]) -> None:
        self.code = code
        self.options = options

    def __call__(self, submitter: _shoal.Submitter) -> None:
        cluster.ensure_init()
        options = self.options
        retries = options.get("max_retries")
        num_returns = options.get("num_returns")
        if num_returns is None and inspect.isgeneratorfunction(self.code.target):
            raise ValueError(
                f"{self.code.target.__qualname__} is a generator, which needs num_returns (how many values it yields): "
                "streams of results are not supported."
            )
        function_id, code = self.code.export()
        submitter.configure(
            shape=register_shape(options, _options.resource_amounts(options, default_cpus=1.0)),
            function=function_id,
            code=code,
            name=options.get("name") or self.code.target.__qualname__,
            num_returns=1 if num_returns is None else num_returns,
            max_retries=_DEFAULT_MAX_RETRIES if retries is None else retries,
            retry_exceptions=bool(options.get("retry_exceptions")),
            options=packed(extras(options)),
        )


class RemoteFunction:
    """A function that runs on the cluster: `f.remote(x)` returns a reference to f(x)."""

    def __init__(self, code: Code, options: dict[str, Any]) -> None:
        functools.update_wrapper(self, code.target)
        self._code = code
        self._options = options
        self.remote = _shoal.Submitter(_Plan(code, options))

    def options(self, **options: Any) -> RemoteFunction:
        """The same function with other options for the calls made through the result."""
        checked = _options.task_options(options, declaration=False)
        return RemoteFunction(self._code, _options.merged(self._options, checked))

    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
        name = self._code.target.__name__
        raise TypeError(f"A remote function is called by {name}.remote(), not by {name}().")

    def __reduce__(self) -> tuple[Any, ...]:
        return (remote_function, (self._code.target, self._options))

    def __repr__(self) -> str:
        return f"RemoteFunction({self._code.target.__qualname__})"


def remote_function(function: Callable[..., Any], options: dict[str, Any]) -> RemoteFunction:
    """A remote function of checked options."""
    if not hasattr(function, "__qualname__"):  # a partial, an object with __call__
        wrapped = function

        def call(*args: Any, **kwargs: Any) -> Any:
            return wrapped(*args, **kwargs)

        call.__name__ = call.__qualname__ = type(function).__name__
        function = call
    return RemoteFunction(Code(function), options)
