"""Placement groups: reserved together, given back, what runs in them and what waits for them."""

import os

import pytest

import shoal
from shoal import exceptions
from shoal.util import (
    get_current_placement_group,
    get_placement_group,
    placement_group,
    placement_group_table,
    remove_placement_group,
)
from shoal.util.scheduling_strategies import NodeAffinitySchedulingStrategy, PlacementGroupSchedulingStrategy
from support import eventually

pytestmark = pytest.mark.usefixtures("runtime")


@shoal.remote
def current_group():
    return get_current_placement_group()


@pytest.fixture
def group():
    made = placement_group([{"CPU": 1}, {"CPU": 1}])
    yield made
    remove_placement_group(made)
    eventually(lambda: shoal.available_resources().get("CPU", 0) == shoal.cluster_resources()["CPU"])


def test_a_group_becomes_ready(group):
    assert shoal.get(group.ready(), timeout=30) == group
    assert group.wait(30)
    assert group.bundle_count == 2
    assert group.bundle_specs == [{"CPU": 1}, {"CPU": 1}]
    assert placement_group_table(group)["state"] == "CREATED"


def test_a_group_takes_its_resources(group):
    assert group.wait(30)
    eventually(lambda: shoal.available_resources().get("CPU") == shoal.cluster_resources()["CPU"] - 2)


def test_tasks_and_actors_run_in_a_group(group):
    strategy = PlacementGroupSchedulingStrategy(group, 0)
    assert shoal.get(current_group.options(scheduling_strategy=strategy).remote(), timeout=30) == group
    assert shoal.get(current_group.options(placement_group=group).remote(), timeout=30) == group
    assert shoal.get(current_group.remote(), timeout=30) is None

    @shoal.remote(num_cpus=1)
    class Actor:
        def group(self):
            return get_current_placement_group()

    actor = Actor.options(scheduling_strategy=PlacementGroupSchedulingStrategy(group, 1)).remote()
    assert shoal.get(actor.group.remote(), timeout=30) == group


def test_children_run_in_the_group_on_request(group):
    @shoal.remote(num_cpus=0.5)
    def parent():
        return shoal.get(current_group.options(num_cpus=0.5).remote())

    for capture, expected in ((True, group), (False, None)):
        strategy = PlacementGroupSchedulingStrategy(group, placement_group_capture_child_tasks=capture)
        assert shoal.get(parent.options(scheduling_strategy=strategy).remote(), timeout=30) == expected


@shoal.remote(num_cpus=0.5)
def group_of_half_a_cpu():
    return get_current_placement_group()


def test_whether_children_run_in_the_group_is_asked_for_each_parent(group):
    @shoal.remote(num_cpus=0.5)
    def parent():
        elsewhere = group_of_half_a_cpu.options(scheduling_strategy="DEFAULT")
        return os.getpid(), shoal.get([group_of_half_a_cpu.remote(), elsewhere.remote()])

    seen = {}
    for capture in (True, False, True, False, True):  # mostly in one worker, which has the calls ready from before
        strategy = PlacementGroupSchedulingStrategy(group, 0, placement_group_capture_child_tasks=capture)
        pid, groups = shoal.get(parent.options(scheduling_strategy=strategy).remote(), timeout=30)
        assert groups == [group if capture else None, None]
        seen.setdefault(pid, set()).add(capture)
    assert any(len(captures) == 2 for captures in seen.values())


def test_a_strategy_given_later_replaces_the_declared_group(group):
    @shoal.remote(num_cpus=0, placement_group=group)
    class Actor:
        def group(self):
            return get_current_placement_group()

    assert shoal.get(Actor.remote().group.remote(), timeout=30) == group
    assert shoal.get(Actor.options(scheduling_strategy="DEFAULT").remote().group.remote(), timeout=30) is None


def test_a_group_that_does_not_fit_waits_and_leaves_the_rest_alone():
    group = placement_group([{"CPU": 1}] * 3 + [{"unobtainium": 1}])
    assert not group.wait(0.2)
    assert shoal.get(current_group.options(num_cpus=4).remote(), timeout=30) is None
    remove_placement_group(group)


def test_strict_spread_needs_as_many_nodes():
    group = placement_group([{"CPU": 1}] * 2, strategy="STRICT_SPREAD")
    assert not group.wait(0.2)
    remove_placement_group(group)


def test_a_removed_group_fails_what_waits_for_it():
    group = placement_group([{"CPU": 1}])
    assert group.wait(30)
    remove_placement_group(group)
    with pytest.raises(exceptions.TaskPlacementGroupRemoved):
        group.wait(30)
    strategy = PlacementGroupSchedulingStrategy(group)
    with pytest.raises(exceptions.TaskPlacementGroupRemoved):
        shoal.get(current_group.options(scheduling_strategy=strategy).remote(), timeout=30)


def test_a_bundle_index_out_of_range_is_refused(group):
    with pytest.raises(ValueError, match="-1 to 1"):
        current_group.options(scheduling_strategy=PlacementGroupSchedulingStrategy(group, 2)).remote()


def test_a_group_by_name():
    group = placement_group([{"CPU": 1}], name="named")
    assert group.wait(30)
    found = get_placement_group("named")
    assert found == group
    assert found.bundle_specs == [{"CPU": 1}]
    remove_placement_group(group)
    with pytest.raises(ValueError, match="no placement group named"):
        get_placement_group("unknown")


@pytest.mark.parametrize("bundle", [-1, 0])
def test_a_task_that_is_larger_than_its_bundle_fails(group, bundle):
    assert group.wait(30)
    strategy = PlacementGroupSchedulingStrategy(group, bundle)
    with pytest.raises(exceptions.TaskUnschedulableError, match="fits into no such bundle"):
        shoal.get(current_group.options(num_cpus=2, scheduling_strategy=strategy).remote(), timeout=30)


def test_node_affinity():
    here = shoal.get_runtime_context().get_node_id()
    strategy = NodeAffinitySchedulingStrategy(here, soft=False)
    assert shoal.get(current_group.options(scheduling_strategy=strategy).remote(), timeout=30) is None
    nowhere = NodeAffinitySchedulingStrategy("00000000000000aa", soft=False)
    with pytest.raises(exceptions.TaskUnschedulableError):
        shoal.get(current_group.options(scheduling_strategy=nowhere).remote(), timeout=30)
    soft = NodeAffinitySchedulingStrategy("00000000000000aa", soft=True)
    assert shoal.get(current_group.options(scheduling_strategy=soft).remote(), timeout=30) is None


def test_spread_runs():
    assert shoal.get(current_group.options(scheduling_strategy="SPREAD").remote(), timeout=30) is None
