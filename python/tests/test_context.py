"""Who and where: the runtime context, resources and tables."""

import os

import pytest

import shoal
from shoal.util import state
from support import eventually

pytestmark = pytest.mark.usefixtures("runtime")


@shoal.remote
def facts():
    context = shoal.get_runtime_context()
    return {
        "job": context.get_job_id(),
        "node": context.get_node_id(),
        "worker": context.get_worker_id(),
        "task": context.get_task_id(),
        "name": context.get_task_name(),
        "actor": context.get_actor_id(),
        "attempt": context.get_attempt_number(),
        "namespace": context.namespace,
        "resources": context.get_assigned_resources(),
        "gpus": shoal.get_gpu_ids(),
        "env": context.runtime_env,
    }


def test_the_context_of_a_driver():
    context = shoal.get_runtime_context()
    assert len(context.get_job_id()) == len(context.get_node_id()) == len(context.get_worker_id()) == 16
    assert context.namespace == "tests"
    assert context.get_task_id() is None
    assert context.get_actor_id() is None
    assert context.get_actor_name() is None
    assert context.get_attempt_number() == 0
    assert context.get_assigned_resources() == {}
    with pytest.raises(RuntimeError, match="inside an actor"):
        assert context.current_actor


def test_the_context_of_a_task():
    here = shoal.get_runtime_context()
    ref = facts.options(num_cpus=2).remote()
    there = shoal.get(ref)
    assert there["job"] == here.get_job_id()
    assert there["node"] == here.get_node_id()
    assert there["worker"] != here.get_worker_id()
    assert there["task"] == ref.hex()
    assert there["name"] == "facts"
    assert there["actor"] is None
    assert there["attempt"] == 0
    assert there["namespace"] == "tests"
    assert there["resources"] == {"CPU": 2.0}
    assert there["gpus"] == []
    assert there["env"] == {}


def test_names_and_environments_show_in_the_context():
    named = facts.options(name="renamed", runtime_env={"env_vars": {"A": "1"}})
    there = shoal.get(named.remote(), timeout=60)
    assert there["name"] == "renamed"
    assert there["env"] == {"env_vars": {"A": "1"}}


def test_the_context_of_an_actor():
    @shoal.remote(num_cpus=1, resources={"gadget": 1})
    class Actor:
        def facts(self):
            context = shoal.get_runtime_context()
            return (
                context.get_actor_id(),
                context.get_actor_name(),
                context.get_assigned_resources(),
                context.was_current_actor_reconstructed,
                context.get_task_name(),
            )

    actor = Actor.options(name="contextual").remote()
    actor_id, name, resources, reconstructed, task = shoal.get(actor.facts.remote(), timeout=60)
    assert actor_id == actor._actor_id
    assert name == "contextual"
    assert resources == {"CPU": 1.0, "gadget": 1.0}
    assert reconstructed is False
    assert task == "Actor.facts"
    shoal.kill(actor)


def test_nodes_and_resources():
    (node,) = shoal.nodes()
    assert node["Alive"] is True
    assert node["NodeID"] == shoal.get_runtime_context().get_node_id()
    assert node["NodeName"]
    assert node["Resources"]["CPU"] == 4
    total = shoal.cluster_resources()
    assert total["CPU"] == 4
    assert total["gadget"] == 2
    eventually(lambda: shoal.available_resources().get("CPU") == 4)


def test_tables():
    @shoal.remote
    class Actor:
        def pid(self):
            return os.getpid()

    actor = Actor.options(name="in-a-table").remote()
    pid = shoal.get(actor.pid.remote(), timeout=60)
    row = state.get_actor(actor._actor_id)
    assert row is not None
    assert row["state"] == row.state == "ALIVE"
    assert [r["name"] for r in state.list_actors([("actor_id", "=", actor._actor_id)])] == ["in-a-table"]
    assert pid in {r["pid"] for r in state.list_workers()}
    assert state.list_nodes()
    assert shoal.get_runtime_context().get_job_id() in {r.get("job_id") for r in state.list_jobs()}
    assert state.summarize_actors()["ALIVE"] >= 1
    shoal.kill(actor)
    with pytest.raises(ValueError, match="operator"):
        state.list_actors([("state", ">", "ALIVE")])
    with pytest.raises(AttributeError, match="no column 'nothing'"):
        assert row.nothing
