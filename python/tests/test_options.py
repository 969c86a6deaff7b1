"""Options are checked where they are written, with a sentence that says what to write."""

import pathlib
import re

import numpy as np
import pytest

import shoal
from shoal import _options
from shoal._internal import limits
from shoal.util.placement_group import PlacementGroup
from shoal.util.scheduling_strategies import (
    In,
    NodeAffinitySchedulingStrategy,
    NodeLabelSchedulingStrategy,
    NotIn,
    PlacementGroupSchedulingStrategy,
)

NODE = "00000000000000aa"
HALF = "\ud800"  # of a character


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"num_cpus": -1}, "num_cpus must be zero or more"),
        ({"num_cpus": "2"}, "num_cpus must be a number"),
        ({"num_cpus": True}, "num_cpus must be a number"),
        ({"num_cpus": float("inf")}, "num_cpus must be zero or more"),
        ({"num_cpus": 0.00001}, "at least 0.0001"),
        ({"num_gpus": 1.5}, "whole number"),
        ({"resources": {"CPU": 1}}, "use num_cpus instead"),
        ({"num_cpus": 10**400}, "num_cpus must be zero or more and 9e\\+14 at most, not 1000"),
        ({"num_cpus": 10**5000}, "num_cpus must be zero or more and 9e\\+14 at most, not a value of type int"),
        ({"memory": float("nan")}, "memory must be zero or more"),
        ({"num_gpus": np.array([1, 2])}, "num_gpus must be a number, not ndarray"),
        ({"resources": {"a": None}}, 'resources\\["a"\\] must be a number, not NoneType'),
        ({"resources": {"": 1}}, "a name in resources must be a non-empty str"),
        ({"resources": {"a": 1e300}}, 'resources\\["a"\\] must be zero or more and 9e\\+14 at most'),
        ({"resources": {HALF: 1}}, "a name in resources .* lone surrogates, not '.ud800'"),
        ({"name": HALF}, "name must be a str without null characters and lone surrogates"),
        ({"name": "a\0b"}, "name must be a str without null characters and lone surrogates"),
        ({"accelerator_type": HALF}, "accelerator_type must be a str without"),
        ({"resources": ["a"]}, "must be a dict"),
        ({"max_retries": -2}, "-1 means without limit"),
        ({"max_retries": 1.0}, "must be an int"),
        ({"num_returns": "streaming"}, "not supported"),
        ({"num_returns": -1}, "must be 0 or more"),
        ({"num_returns": 10**400}, "num_returns must be 0 or more and 2147483647 at most, not 1000.*401 characters"),
        ({"num_returns": np.array([1, 2])}, "num_returns must be an int, not ndarray"),
        ({"placement_group_bundle_index": -2}, "-1 means any bundle"),
        ({"placement_group": np.array([1, 2])}, "placement_group must be a PlacementGroup, not array"),
        ({"retry_exceptions": [1]}, "exception classes"),
        ({"scheduling_strategy": "PACK"}, "scheduling_strategy must be"),
        ({"scheduling_strategy": {"CPU": 1}}, "scheduling_strategy must be"),
        ({"scheduling_strategy": np.array([1, 2])}, "scheduling_strategy must be .*, not array"),
        ({"runtime_env": {"pip": ["x"]}}, 'only "env_vars" is'),
        ({"runtime_env": {"env_vars": {"A": 1}}}, "dict of str to str"),
        ({"runtime_env": {"env_vars": np.array([1, 2])}}, "dict of str to str"),
        ({"runtime_env": {"env_vars": {"A=B": "c"}}}, 'names without "="'),
        ({"runtime_env": {"env_vars": {"A": HALF}}}, '"env_vars"\\]\\["A"\\] must be a str without'),
        ({"label_selector": {"a": 1}}, "dict of str to str"),
        ({"label_selector": {"a": "b\0"}}, 'label_selector\\["a"\\] must be a str without'),
        ({"max_restarts": 1}, "is not an option of a task"),
        ({"unknown": 1}, "is not an option of a task"),
    ],
)
def test_a_bad_task_option_is_refused_at_the_declaration(options, error):
    with pytest.raises((ValueError, TypeError), match=error):
        shoal.remote(**options)(lambda: None)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"max_retries": 1}, "is not an option of an actor"),
        ({"lifetime": "forever"}, "lifetime must be"),
        ({"max_concurrency": 0}, "must be 1 or more"),
        ({"get_if_exists": True}, "needs a name"),
        ({"name": ""}, "non-empty str"),
        ({"name": HALF}, "name must be a str without"),
        ({"namespace": "a\0b"}, "namespace must be a str without"),
        ({"lifetime": np.array([1, 2])}, "lifetime must be .*, not array"),
        ({"concurrency_groups": {HALF: 1}}, "a name in concurrency_groups must be a str without"),
        ({"concurrency_groups": {"io": 0}}, "must be 1 or more"),
    ],
)
def test_a_bad_actor_option_is_refused_at_the_declaration(options, error):
    with pytest.raises((ValueError, TypeError), match=error):
        shoal.remote(**options)(type("Actor", (), {}))


def test_options_that_belong_to_the_declaration_are_refused_in_options():
    with pytest.raises(ValueError, match="belongs into @remote"):
        shoal.remote(lambda: None).options(max_calls=1)
    with pytest.raises(ValueError, match="belongs into @remote"):
        shoal.remote(type("Actor", (), {})).options(concurrency_groups={"io": 1})


def test_remote_says_what_is_wrong_with_its_target():
    with pytest.raises(TypeError, match="a function or a class, not 5"):
        shoal.remote(5)
    with pytest.raises(TypeError, match="has no options"):
        shoal.remote()
    with pytest.raises(TypeError, match="is remote already"):
        shoal.remote(shoal.remote(lambda: None))
    with pytest.raises(ValueError, match="is async"):

        @shoal.remote
        async def coroutine():
            pass


def test_remote_things_are_not_called_directly():
    f = shoal.remote(lambda: None)
    with pytest.raises(TypeError, match=r"\.remote\(\)"):
        f()
    actor_class = shoal.remote(type("Actor", (), {}))
    with pytest.raises(TypeError, match=r"Actor\.remote\(\)"):
        actor_class()
    with pytest.raises(TypeError, match="cannot be subclassed"):

        class Derived(actor_class):
            pass


def test_a_remote_function_looks_like_the_function():
    @shoal.remote(num_cpus=2)
    def documented():
        """What it does."""

    assert documented.__name__ == "documented"
    assert documented.__doc__ == "What it does."
    assert documented.options(num_cpus=1).__name__ == "documented"


def test_a_method_in_an_undeclared_concurrency_group_is_refused():
    class Actor:
        @shoal.method(concurrency_group="io")
        def work(self):
            pass

    with pytest.raises(ValueError, match="'io', which is not declared"):
        shoal.remote(Actor)
    shoal.remote(concurrency_groups={"io": 2})(Actor)


def test_amounts_default_to_one_cpu_for_tasks_and_none_for_actors():
    assert _options.resource_amounts({}, 1.0) == {"CPU": 1.0}
    assert _options.resource_amounts({"num_cpus": 0}, 1.0) == {}
    assert _options.resource_amounts({"num_gpus": 0.5, "memory": 100, "resources": {"a": 2}}, 0.0) == {
        "GPU": 0.5,
        "memory": 100.0,
        "a": 2.0,
    }
    assert _options.resource_amounts({"accelerator_type": "H100"}, 0.0) == {"accelerator_type:H100": 0.001}


def test_strategies_become_what_the_core_takes():
    group = PlacementGroup("00000000000000bb", [{"CPU": 1}, {"CPU": 1}])
    strategy = _options.strategy_tuple
    assert strategy({}) == (0, "", False, "", -1)
    assert strategy({"scheduling_strategy": "SPREAD"}) == (1, "", False, "", -1)
    affinity = NodeAffinitySchedulingStrategy(NODE, soft=True)
    assert strategy({"scheduling_strategy": affinity}) == (2, NODE, True, "", -1)
    in_group = PlacementGroupSchedulingStrategy(group, 1)
    assert strategy({"scheduling_strategy": in_group}) == (3, "", False, group.id, 1)
    for index in ({}, {"placement_group_bundle_index": None}, {"placement_group_bundle_index": -1}):
        assert strategy({"placement_group": group, **index}) == (3, "", False, group.id, -1)
    with pytest.raises(ValueError, match="-1 to 1 for a group of 2"):
        strategy({"scheduling_strategy": PlacementGroupSchedulingStrategy(group, 2)})


def test_strategies_check_what_they_are_given():
    with pytest.raises(ValueError, match="16 hex digits"):
        NodeAffinitySchedulingStrategy("zz")
    with pytest.raises(TypeError, match="soft must be True or False"):
        NodeAffinitySchedulingStrategy(NODE, soft=np.array([1, 2]))
    with pytest.raises(ValueError, match="-1 or more"):
        PlacementGroupSchedulingStrategy(None, -2)
    with pytest.raises(TypeError, match=r"must be a PlacementGroup, not \{\}"):
        PlacementGroupSchedulingStrategy({}, 0)
    with pytest.raises(TypeError, match="capture_child_tasks must be True or False"):
        PlacementGroupSchedulingStrategy(None, -1, np.array([1, 2]))
    with pytest.raises(ValueError, match="at least one"):
        NodeLabelSchedulingStrategy()
    with pytest.raises(ValueError, match="In, NotIn or str, not one with 'a': 5"):
        NodeLabelSchedulingStrategy(hard={"a": 5})
    with pytest.raises(ValueError, match="hard must be a dict of labels and conditions"):
        NodeLabelSchedulingStrategy(hard=["a"])
    with pytest.raises(ValueError, match="compared with must be a str without"):
        In(HALF)


def test_label_conditions_become_selectors():
    strategy = NodeLabelSchedulingStrategy(hard={"disk": In("ssd", "nvme"), "zone": NotIn("a")})
    assert _options.label_selector({"scheduling_strategy": strategy, "label_selector": {"owner": "me"}}) == {
        "owner": "me",
        "disk": "in(ssd,nvme)",
        "zone": "!in(a)",
    }


@pytest.mark.parametrize(
    "bundles",
    [
        [],
        [{}],
        [{"CPU": -1}],
        [{"CPU": float("nan")}],
        [{"CPU": 0}],
        "CPU",
        [{"CPU": "1"}],
        [{"CPU": 10**400}],
        [{HALF: 1}],
        [{"CPU": 1}] * 4097,
    ],
)
def test_bad_bundles_are_refused(bundles):
    with pytest.raises(ValueError, match="bundle"):
        shoal.util.placement_group(bundles)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"strategy": []}, "strategy must be one of PACK"),
        ({"name": 5}, "name must be a .*str, not 5"),
        ({"name": HALF}, "name must be a str without"),
        ({"lifetime": np.array([1, 2])}, "lifetime must be None"),
        ({"bundle_label_selector": 5}, "bundle_label_selector must be a list"),
        ({"bundle_label_selector": [{"a": 5}]}, r"bundle_label_selector\[0\] must be a dict of str to str"),
    ],
)
def test_bad_arguments_of_placement_groups_are_refused(arguments, error):
    with pytest.raises((ValueError, TypeError), match=error):
        shoal.util.placement_group([{"CPU": 1}], **arguments)


def test_names_that_are_looked_up_are_checked():
    for look_up in (shoal.get_actor, shoal.util.get_placement_group, lambda name: shoal.get_actor("a", name)):
        for name in ("", HALF, "a\0b", 5):
            with pytest.raises((ValueError, TypeError), match=r"name(space)? must be a .*str"):
                look_up(name)
    with pytest.raises(TypeError, match="takes a PlacementGroup, not int"):
        shoal.util.placement_group_table(5)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"num_cpus": 10**400}, "num_cpus must be zero or more and 1e\\+06 at most"),
        ({"num_gpus": 1.5}, "num_gpus above 1 must be a whole number"),
        ({"resources": {"a\0b": 1}}, "a name in resources must be a str without"),
        (
            {"resources": {f"r{i}": 1 for i in range(20_000)}},
            "resources takes 288890 bytes when written out, 131071 at most",
        ),
        ({"labels": {"a": HALF}}, 'labels\\["a"\\] must be a str without'),
        ({"labels": {"a\0b": "c"}}, "a name in labels must be a str without"),
        ({"labels": {"a": "b=c"}}, "labels must be non-empty texts"),
        ({"labels": {"a": "b" * 200_000}}, "labels takes 200002 bytes"),
        ({"object_store_memory": 10**6}, "object_store_memory must be at least 1048576 bytes, not 1000000"),
        ({"object_store_memory": 2**62}, "object_store_memory must be zero or more and 7.0.*13 at most, not 46"),
        ({"logging_level": "loud"}, "logging_level must be an int or a name"),
        ({"logging_level": None}, "logging_level must be an int or a name"),
        ({"namespace": 5}, "namespace must be a non-empty str, not 5"),
        ({"namespace": ""}, "namespace must be a non-empty str"),
        ({"namespace": HALF}, "namespace must be a str without"),
        ({"runtime_env": {"env_vars": {HALF: "a"}}}, '"env_vars"\\] must be a str without'),
    ],
)
def test_a_bad_argument_of_init_is_refused(arguments, error):
    with pytest.raises((ValueError, TypeError), match=error):
        shoal.init(address="local", **arguments)
    assert not shoal.is_initialized()


def test_init_refuses_what_it_cannot_do():
    with pytest.raises(ValueError, match="local_mode is not supported"):
        shoal.init(local_mode=True)
    with pytest.raises(ValueError, match="there is no dashboard"):
        shoal.init(include_dashboard=True)
    with pytest.raises(TypeError, match="no argument 'nonsense'"):
        shoal.init(nonsense=1)
    with pytest.raises(ValueError, match="num_cpus must be zero or more"):
        shoal.init(num_cpus=-1)


def constant(path, name):
    """A number of the core's sources."""
    text = (pathlib.Path(__file__).parents[2] / path).read_text()
    return eval(re.search(rf"{name} = ([\w <']+)", text).group(1).replace("'", ""))


def test_the_limits_are_those_of_the_core():
    assert limits.AMOUNT == constant("base/resources.cc", "kMostUnits")
    assert limits.NODE_UNITS == constant("runtime/bin/node_options.cc", "kMostUnits")
    assert limits.BUNDLES == constant("scheduler/placement_group_table.h", "kMostBundles")
    assert limits.CODE_BYTES == constant("schema/limits.h", "kMostCodeBytes")
