"""Actors: `@remote` on a class makes an ActorClass, its `.remote()` starts one and returns an ActorHandle."""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Callable
from typing import Any, NoReturn

from shoal import _options, _shoal
from shoal._internal import checks, cluster
from shoal.exceptions import AsyncioActorExit, NameTakenError
from shoal.remote_function import Code, call_extras, extras, packed, register_shape

_ASYNC_MAX_CONCURRENCY = 1000
_METHOD_OPTIONS = "__shoal_method_options__"
# Methods that every actor has, under Ray's names.
BUILTIN_METHODS = ("__ray_ready__", "__ray_call__", "__ray_terminate__")


def method(*args: Any, **options: Any) -> Any:
    """Options of one method of an actor class: @method(num_returns=2, concurrency_group="io")."""
    if args:
        raise TypeError("@method needs options in parentheses, for example @method(num_returns=2).")
    checked = _options.method_options(options)

    def annotate(function: Callable[..., Any]) -> Callable[..., Any]:
        setattr(function, _METHOD_OPTIONS, checked)
        return function

    return annotate


def _methods_of(cls: type) -> dict[str, dict[str, Any]]:
    """Callable attributes of a class and their options."""
    found: dict[str, dict[str, Any]] = {name: {} for name in BUILTIN_METHODS}
    for name, member in inspect.getmembers(cls):
        if callable(member) and (not name.startswith("__") or name == "__call__"):
            found[name] = getattr(member, _METHOD_OPTIONS, {})
    if "__call__" not in {name for base in cls.__mro__[:-1] for name in base.__dict__}:
        found.pop("__call__", None)
    return found


def is_asyncio(cls: type) -> bool:
    """True if instances run on an event loop: one of the methods is a coroutine."""
    return any(
        inspect.iscoroutinefunction(member) or inspect.isasyncgenfunction(member)
        for _, member in inspect.getmembers(cls, inspect.isroutine)
    )


# class name, options by method, max_task_retries, max_pending_calls
_MetaTuple = tuple[str, dict[str, dict[str, Any]], int, int]


class ActorClass:
    """A class whose instances live in processes of their own: `A.remote(...)` starts one."""

    def __init__(self, cls: type, options: dict[str, Any], code: Code | None = None) -> None:
        if not isinstance(cls, type):  # how Python calls it for a subclass
            raise TypeError("An actor class cannot be subclassed: subclass the plain class and decorate the result.")
        self.__name__ = cls.__name__
        self.__qualname__ = cls.__qualname__
        self.__module__ = cls.__module__
        self.__doc__ = cls.__doc__
        self._cls = cls
        self._options = options
        self._code = code or Code(cls)
        self._methods = _methods_of(cls)
        groups = options.get("concurrency_groups") or {}
        for name, method_options in self._methods.items():
            group = method_options.get("concurrency_group")
            if group is not None and group not in groups:
                raise ValueError(f"{cls.__name__}.{name} is in the concurrency group {group!r}, which is not declared.")

    def options(self, **options: Any) -> ActorClass:
        """The same class with other options for the actors started through the result."""
        checked = _options.actor_options(options, declaration=False)
        return ActorClass(self._cls, _options.merged(self._options, checked), self._code)

    def remote(self, *args: Any, **kwargs: Any) -> ActorHandle:
        """Starts an actor; returns at once."""
        cluster.ensure_init()
        options = self._options
        name = options.get("name") or ""
        namespace = options.get("namespace") or ""
        if options.get("get_if_exists"):
            try:
                return get_actor(name, namespace or None)
            except ValueError:
                pass
        return self._create(name, namespace, args, kwargs)

    def _create(self, name: str, namespace: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> ActorHandle:
        options = self._options
        function_id, code = self._code.export()
        asyncio = is_asyncio(self._cls)
        concurrency = options.get("max_concurrency") or (_ASYNC_MAX_CONCURRENCY if asyncio else 1)
        # As in Ray: without num_cpus an actor needs a free CPU to start and holds none while it lives.
        held = _options.resource_amounts(options, default_cpus=0.0)
        placement = {**held, "CPU": 1.0} if options.get("num_cpus") is None else held
        limit = options.get("max_pending_calls")
        meta = _HandleMeta(
            self.__name__, self._methods, options.get("max_task_retries") or 0, -1 if limit is None else limit
        )
        core = _shoal.create_actor(
            args,
            kwargs,
            shape=register_shape(options, held),
            placement=placement,
            function=function_id,
            code=code,
            class_name=self.__qualname__,
            name=name,
            namespace=namespace,
            detached=options.get("lifetime") == "detached",
            get_if_exists=bool(options.get("get_if_exists")),
            max_restarts=options.get("max_restarts") or 0,
            max_task_retries=meta.max_task_retries,
            max_concurrency=concurrency,
            max_pending_calls=meta.max_pending_calls,
            options=self._worker_options(asyncio, concurrency),
            handle=pickle.dumps(meta.as_tuple(), 5),
        )
        if name:
            return self._registered(core, meta, name, namespace)
        return ActorHandle(core, meta)

    def _registered(self, core: _shoal.ActorCore, meta: _HandleMeta, name: str, namespace: str) -> ActorHandle:
        """Asks who got the name: it may be another one."""
        try:
            found, data = _shoal.get_actor(name, namespace)
        except ValueError:  # dead already
            return ActorHandle(core, meta)
        if found == core.actor_id:
            return ActorHandle(core, meta)
        if self._options.get("get_if_exists"):
            return _rebuild_handle(found, None, pickle.loads(data))
        raise NameTakenError(f"The name {name!r} is taken by another actor: choose another, or use get_if_exists=True.")

    def _worker_options(self, asyncio: bool, concurrency: int) -> bytes:
        found = extras(self._options)
        found["asyncio"] = asyncio
        found["max_concurrency"] = concurrency
        found["concurrency_groups"] = dict(self._options.get("concurrency_groups") or {})
        found["groups_of_methods"] = {
            name: options["concurrency_group"]
            for name, options in self._methods.items()
            if options.get("concurrency_group")
        }
        return packed(found)

    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError(f"An actor is started by {self.__name__}.remote(), not by {self.__name__}().")

    def __reduce__(self) -> tuple[Any, ...]:
        return (ActorClass, (self._cls, self._options))

    def __repr__(self) -> str:
        return f"ActorClass({self.__qualname__})"


class _HandleMeta:
    """What a handle knows about its class; travels with the handle and with the actor's name."""

    __slots__ = ("class_name", "max_pending_calls", "max_task_retries", "methods")

    def __init__(
        self, class_name: str, methods: dict[str, dict[str, Any]], max_task_retries: int, max_pending_calls: int
    ) -> None:
        self.class_name = class_name
        self.methods = methods
        self.max_task_retries = max_task_retries
        self.max_pending_calls = max_pending_calls

    def as_tuple(self) -> _MetaTuple:
        # Exception classes may be unknown where the handle goes; there True does.
        methods = {
            name: {**options, "retry_exceptions": bool(options["retry_exceptions"])}
            if options.get("retry_exceptions")
            else options
            for name, options in self.methods.items()
        }
        return (self.class_name, methods, self.max_task_retries, self.max_pending_calls)


class _CallPlan:
    """Readies the submitter of one method for the current session."""

    def __init__(self, core: _shoal.ActorCore, name: str, options: dict[str, Any], default_retries: int) -> None:
        self.core = core
        self.name = name
        self.options = options
        self.default_retries = default_retries

    def __call__(self, submitter: _shoal.Submitter) -> None:
        options = self.options
        retries = options.get("max_task_retries")
        num_returns = options.get("num_returns")
        submitter.configure_call(
            actor=self.core,
            name=self.name,
            num_returns=1 if num_returns is None else num_returns,
            max_retries=self.default_retries if retries is None else retries,
            retry_exceptions=bool(options.get("retry_exceptions")),
            concurrency_group=options.get("concurrency_group") or "",
            options=packed(call_extras({"retry_exceptions": options.get("retry_exceptions")})),
        )


class ActorMethod:
    """`handle.method`; call it by `.remote()`."""

    __slots__ = ("_core", "_meta", "_name", "_options", "remote")

    def __init__(self, core: _shoal.ActorCore, meta: _HandleMeta, name: str, options: dict[str, Any]) -> None:
        self._core = core
        self._meta = meta
        self._name = name
        self._options = options
        full_name = f"{meta.class_name}.{name}"
        self.remote = _shoal.Submitter(_CallPlan(core, full_name, options, meta.max_task_retries))

    def options(self, **options: Any) -> ActorMethod:
        """The same method with other options for the calls made through the result."""
        checked = _options.method_options(options)
        return ActorMethod(self._core, self._meta, self._name, {**self._options, **checked})

    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError(f"A method of an actor is called by {self._name}.remote(), not by {self._name}().")

    def __repr__(self) -> str:
        return f"ActorMethod({self._meta.class_name}.{self._name})"


class ActorHandle:
    """An actor somewhere in the cluster. An actor without a name ends when its last handle is gone."""

    def __init__(self, core: _shoal.ActorCore, meta: _HandleMeta) -> None:
        self._shoal_core = core
        self._shoal_meta = meta

    @property
    def _actor_id(self) -> str:
        return self._shoal_core.actor_id

    def __getattr__(self, name: str) -> ActorMethod:
        # Reached once per method: the result stays in __dict__. It points to the core, not to this handle, so
        # that dropping the handle ends the actor without waiting for the garbage collector.
        if name.startswith("_shoal_"):
            raise AttributeError(name)
        meta = self._shoal_meta
        options = meta.methods.get(name)
        if options is None:
            raise AttributeError(f"{meta.class_name} has no method {name!r}.")
        method_object = ActorMethod(self._shoal_core, meta, name, options)
        self.__dict__[name] = method_object
        return method_object

    def __dir__(self) -> list[str]:
        return [*object.__dir__(self), *self._shoal_meta.methods]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ActorHandle) and self._actor_id == other._actor_id

    def __hash__(self) -> int:
        return hash(self._actor_id)

    def __reduce__(self) -> tuple[Any, ...]:
        core = self._shoal_core
        return (_rebuild_handle, (core.actor_id, core.ref, self._shoal_meta.as_tuple()))

    def __repr__(self) -> str:
        return f"ActorHandle({self._shoal_meta.class_name}, {self._actor_id})"


def _rebuild_handle(actor_id: str, ref: _shoal.ObjectRef[Any] | None, meta: _MetaTuple) -> ActorHandle:
    known = _HandleMeta(*meta)
    core = _shoal.actor_core(actor_id, ref, known.max_task_retries, known.max_pending_calls)
    return ActorHandle(core, known)


def handle_of_this_actor() -> ActorHandle:
    """In an actor: a handle to itself, which does not keep it alive."""
    from shoal._internal.worker import ActorState

    return _rebuild_handle(ActorState.actor_id, None, pickle.loads(ActorState.handle))


def get_actor(name: str, namespace: str | None = None) -> ActorHandle:
    """The actor of that name in this namespace, or in the one given. ValueError if there is none."""
    checks.text("name", name)
    if namespace is not None:
        checks.text("namespace", namespace)
    cluster.ensure_init()
    found, data = _shoal.get_actor(name, namespace or "")
    return _rebuild_handle(found, None, pickle.loads(data))


def kill(actor: ActorHandle, *, no_restart: bool = True) -> None:
    """Ends an actor at once; calls in flight fail. With no_restart=False it comes back if its max_restarts allow."""
    if not isinstance(actor, ActorHandle):
        raise TypeError(f"kill takes an ActorHandle, not {type(actor).__name__}.")
    cluster.ensure_init()
    _shoal.kill_actor(actor._actor_id, no_restart)


def exit_actor() -> NoReturn:
    """Called inside an actor: the current call fails with ActorDiedError, and the actor ends for good."""
    if not _shoal.running_task()["actor_id"]:
        raise TypeError("exit_actor is for use inside an actor.")
    raise AsyncioActorExit()
