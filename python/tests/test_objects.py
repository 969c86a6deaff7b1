"""Objects and references: put and get, large arrays without copies, lifetime across processes."""

import gc
import pickle

import numpy as np
import pytest

import shoal
from shoal import exceptions
from shoal._internal import state
from support import eventually

pytestmark = pytest.mark.usefixtures("runtime")


def store_bytes():
    return sum(int(row.get("store_used_bytes", 0)) for row in state.rows("nodes"))


@pytest.mark.parametrize("value", [None, 1, "text", b"bytes", [1, {"a": (2,)}], {"k": None}], ids=repr)
def test_a_value_that_was_put_comes_back(value):
    assert shoal.get(shoal.put(value)) == value


def test_a_reference_is_not_put():
    with pytest.raises(TypeError, match="put it in a list"):
        shoal.put(shoal.put(1))
    ref = shoal.put(1)
    assert shoal.get(shoal.put([ref])) == [ref]


def test_references_compare_hash_and_print():
    a, b = shoal.put(1), shoal.put(1)
    assert a == a
    assert a != b
    assert len({a, b, a}) == 2
    assert a.hex() in repr(a)
    assert len(a.binary()) == 16
    assert not a.is_nil()


def test_a_large_array_is_read_in_place():
    array = np.arange(1_000_000)
    first, second = (shoal.get(ref) for ref in [shoal.put(array)] * 2)
    np.testing.assert_array_equal(first, array)
    assert not first.flags.writeable
    assert first.__array_interface__["data"][0] == second.__array_interface__["data"][0]
    with pytest.raises(ValueError, match="read-only"):
        first[0] = 1


def test_a_large_array_travels_to_a_task_and_back():
    @shoal.remote
    def double(x):
        assert not x.flags.writeable
        return x * 2

    array = np.arange(500_000)
    np.testing.assert_array_equal(shoal.get(double.remote(array)), array * 2)
    np.testing.assert_array_equal(shoal.get(double.remote(shoal.put(array))), array * 2)


def test_an_array_outlives_its_reference():
    ref = shoal.put(np.full(1_000_000, 7))
    array = shoal.get(ref)
    del ref
    gc.collect()
    others = [shoal.put(np.zeros(1_000_000)) for _ in range(8)]
    assert int(array.sum()) == 7_000_000
    del others


def test_space_is_given_back_when_references_go():
    size = 64 << 20
    for _ in range(12):  # three times what the store holds
        ref = shoal.put(np.ones(size, dtype="u1"))
        assert shoal.get(ref)[-1] == 1
        del ref
    gc.collect()


def test_more_than_the_store_holds_is_an_error():
    with pytest.raises(exceptions.ObjectStoreFullError):
        shoal.put(np.zeros(512 << 20, dtype="u1"))


def test_many_small_objects():
    refs = [shoal.put(i) for i in range(10_000)]
    assert shoal.get(refs) == list(range(10_000))


def test_an_object_with_many_references():
    refs = [shoal.put(i) for i in range(1000)]
    outer = shoal.put(refs)
    del refs
    gc.collect()
    assert shoal.get(shoal.get(outer)) == list(range(1000))


def test_references_inside_objects_stay_alive_in_another_process():
    @shoal.remote
    class Keeper:
        def keep(self, refs):
            self.refs = refs

        def read(self):
            return shoal.get(self.refs[0])

    keeper = Keeper.remote()
    ref = shoal.put(np.full(100_000, 3))
    shoal.get(keeper.keep.remote([ref]))
    del ref
    gc.collect()
    assert int(shoal.get(keeper.read.remote()).sum()) == 300_000


def test_an_object_of_a_task_outlives_the_task_when_it_was_returned():
    @shoal.remote
    def make():
        return [shoal.put(np.full(100_000, 5))]

    (inner,) = shoal.get(make.remote())
    assert int(shoal.get(inner).sum()) == 500_000


def test_an_object_dies_with_its_owner():
    @shoal.remote
    class Owner:
        def make(self):
            return [shoal.put(np.full(100_000, 5))]

    owner = Owner.remote()
    (inner,) = shoal.get(owner.make.remote())
    shoal.kill(owner)

    def is_dead():
        try:
            shoal.get(inner, timeout=5)
        except (exceptions.OwnerDiedError, exceptions.ObjectLostError):
            return True
        return False

    eventually(is_dead)


def test_a_reference_pickled_by_hand_stays_valid():
    data = pickle.dumps(shoal.put("kept"))
    gc.collect()
    assert shoal.get(pickle.loads(data)) == "kept"


def test_references_are_generic_for_type_hints():
    assert "ObjectRef[int]" in repr(shoal.ObjectRef[int])
