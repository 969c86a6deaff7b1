"""Who and where the caller is: get_runtime_context()."""

from __future__ import annotations

import json
import os
from typing import Any

from shoal import _shoal
from shoal._internal import cluster


class RuntimeContext:
    """Facts about the calling driver, task or actor, read when they are asked for."""

    def get_job_id(self) -> str:
        """Of the driver that all of this belongs to."""
        return str(_shoal.identity()["job_id"])

    def get_node_id(self) -> str:
        """Of the node that this process runs on."""
        return str(_shoal.identity()["node_id"])

    def get_worker_id(self) -> str:
        """Of this process."""
        return str(_shoal.identity()["worker_id"])

    def get_task_id(self) -> str | None:
        """Of the running task or call; None in a driver."""
        return _shoal.running_task()["task_id"] or None

    def get_task_name(self) -> str | None:
        """Of the running task or call; None in a driver."""
        return _shoal.running_task()["name"] or None

    def get_task_function_name(self) -> str | None:
        """As get_task_name, whatever name the options gave."""
        return self.get_task_name()

    def get_attempt_number(self) -> int:
        """0 for the first run of this task, 1 for the first retry, and so on."""
        return int(_shoal.running_task()["attempt"])

    def get_actor_id(self) -> str | None:
        """Of the actor in this process; None elsewhere."""
        actor_id = str(_shoal.running_task()["actor_id"] or _actor_state().actor_id)
        return actor_id or None

    def get_actor_name(self) -> str | None:
        """ "" for an actor without a name, None outside of actors."""
        return _actor_state().name if self.get_actor_id() else None

    @property
    def namespace(self) -> str:
        """In which names of actors are looked up."""
        return str(_shoal.identity()["namespace"])

    def get_namespace(self) -> str:
        """As `namespace`."""
        return self.namespace

    @property
    def current_actor(self) -> Any:
        """A handle to the calling actor itself. It does not keep the actor alive."""
        from shoal.actor import handle_of_this_actor

        if not self.get_actor_id():
            raise RuntimeError("current_actor is for use inside an actor.")
        return handle_of_this_actor()

    @property
    def was_current_actor_reconstructed(self) -> bool:
        """True in an actor that has been restarted."""
        if not self.get_actor_id():
            raise RuntimeError("was_current_actor_reconstructed is for use inside an actor.")
        return bool(_actor_state().incarnation > 1)

    @property
    def runtime_env(self) -> dict[str, Any]:
        """The runtime_env that applies here."""
        return dict(cluster.runtime_env())

    def get_runtime_env_string(self) -> str:
        """`runtime_env` as JSON."""
        return json.dumps(self.runtime_env)

    def get_assigned_resources(self) -> dict[str, float]:
        """What the running task or actor holds; empty in a driver."""
        return _shoal.assigned_resources()

    def get_accelerator_ids(self) -> dict[str, list[str]]:
        """Ids of the GPUs that are this task's own."""
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        held = self.get_assigned_resources().get("GPU", 0) > 0
        return {"GPU": [item for item in visible.split(",") if item] if held else []}

    def is_canceled(self) -> bool:
        """True in a task that has been cancelled and caught the exception."""
        return _shoal.is_cancelled()

    @property
    def gcs_address(self) -> str:
        """Of the head, as far as this node knows it."""
        return str(cluster.context().get("address", ""))


def _actor_state() -> Any:
    # In a driver the worker's side is never imported.
    import sys

    worker = sys.modules.get("shoal._internal.worker")
    return worker.ActorState if worker is not None else _NoActor


class _NoActor:
    name = actor_id = ""
    incarnation = 0


_context = RuntimeContext()


def get_runtime_context() -> RuntimeContext:
    """The context of the caller."""
    if not _shoal.connected():
        cluster.ensure_init()
    return _context


def get_gpu_ids() -> list[int] | list[str]:
    """Ids of the GPUs that are the calling task's own."""
    ids = get_runtime_context().get_accelerator_ids()["GPU"]
    return [int(item) for item in ids] if all(item.isdigit() for item in ids) else ids
