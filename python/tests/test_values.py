"""Values survive the trip through bytes, arrays without a copy."""

import collections
import dataclasses
import enum
import pickle

import numpy as np
import pytest

from shoal import _shoal
from shoal._internal import serialization


class Plain:
    def __init__(self, x):
        self.x = x

    def __eq__(self, other):
        return self.x == other.x


class Colour(enum.Enum):
    RED = 1


@dataclasses.dataclass
class Point:
    x: int
    y: list


def round_trip(value):
    return _shoal._decode(_shoal._encode(value))


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        False,
        0,
        -1,
        2**63 - 1,
        -(2**63),
        2**63,
        10**40,
        0.0,
        -1.5,
        float("inf"),
        "",
        "text",
        "ümläut \U0001f600",
        "\ud800",
        b"",
        b"bytes\0",
        bytearray(b"mutable"),
        [],
        [1, "a", None, [2.5]],
        (1, (2, 3)),
        {"a": {"b": [1]}},
        {1, 2, 3},
        frozenset({"x"}),
        1 + 2j,
        range(5),
        Plain(3),
        Colour.RED,
        Point(1, [2]),
        collections.OrderedDict(a=1),
        np.float64(2.5),
        slice(1, 2),
    ],
    ids=repr,
)
def test_a_value_comes_back_equal_and_of_its_type(value):
    back = round_trip(value)
    assert back == value
    assert type(back) is type(value)


def test_nan_comes_back():
    back = round_trip(float("nan"))
    assert back != back


@pytest.mark.parametrize("value", [1, 1.0, "a", b"a"], ids=repr)
def test_subclasses_of_builtins_keep_their_class(value):
    class Derived(type(value)):
        extra = "kept"

    back = round_trip(Derived(value))
    assert back == value
    assert type(back).__name__ == "Derived"
    assert back.extra == "kept"


@pytest.mark.parametrize("dtype", ["u1", "i8", "f4", "c16", "M8[s]", "S5", "?", [("a", "i4"), ("b", "f8")]])
@pytest.mark.parametrize("shape", [(), (0,), (7,), (3, 4), (2, 3, 4)])
def test_arrays_come_back(dtype, shape):
    array = np.zeros(shape, dtype=dtype)
    back = round_trip(array)
    assert back.dtype == array.dtype
    assert back.shape == array.shape
    np.testing.assert_array_equal(back, array)


def test_a_decoded_array_is_a_read_only_view():
    back = round_trip(np.arange(10_000))
    assert not back.flags.owndata
    assert not back.flags.writeable
    assert back.ctypes.data % 64 == 0 or back.base is not None
    with pytest.raises(ValueError, match="read-only"):
        back[0] = 1


def test_the_buffer_outlives_the_array_it_was_taken_from():
    back = round_trip({"a": [np.arange(1000)]})
    part = back["a"][0][10:20]
    del back
    assert part.sum() == sum(range(10, 20))


def test_arrays_in_fortran_order_and_slices_come_back():
    array = np.asfortranarray(np.arange(12).reshape(3, 4))
    np.testing.assert_array_equal(round_trip(array), array)
    np.testing.assert_array_equal(round_trip(array[::2, 1:]), array[::2, 1:])


def test_arrays_of_objects_come_back():
    array = np.array([1, "a", None, Plain(2)], dtype=object)
    back = round_trip(array)
    assert list(back) == list(array)


@pytest.mark.parametrize(
    "view",
    [
        memoryview(b"abc"),
        memoryview(b"abcdef")[::2],
        memoryview(bytearray(b"x" * 1000)),
        memoryview(np.arange(6, dtype="i4").reshape(2, 3)),
        memoryview(b""),
    ],
)
def test_memoryviews_come_back_as_memoryviews(view):
    back = round_trip(view)
    assert type(back) is memoryview
    assert back.tobytes() == view.tobytes()
    assert back.shape == view.shape
    assert back.format == view.format


def test_functions_lambdas_and_local_classes_come_back():
    offset = 10

    class Local:
        def method(self):
            return offset

    assert round_trip(lambda x: x + offset)(1) == 11
    assert round_trip(Local)().method() == 10
    assert round_trip([Local()])[0].method() == 10


def test_a_large_pickle_with_many_buffers_comes_back():
    arrays = [np.full(i, i, dtype="i4") for i in range(300)]
    for expected, got in zip(arrays, round_trip(arrays), strict=True):
        np.testing.assert_array_equal(expected, got)


def test_what_cannot_be_pickled_says_so():
    with pytest.raises(TypeError, match="cannot be sent to another process"):
        _shoal._encode((lambda: (yield))())
    with pytest.raises(TypeError, match="cannot be sent to a worker"):
        generator = (lambda: (yield))()
        serialization.dumps_code(lambda: generator)


def leave(error, *_):
    raise error


class Leaving:
    def __init__(self, *parts):
        self.parts = parts

    def __reduce__(self):
        return leave, self.parts


@pytest.mark.parametrize("error", [SystemExit(3), GeneratorExit()], ids=lambda e: type(e).__name__)
@pytest.mark.parametrize("more", [(), (np.zeros(1000),)], ids=["plain", "with buffers"])
def test_a_value_cannot_end_the_program_that_loads_it(error, more):
    with pytest.raises(pickle.UnpicklingError, match=f"its code raised {type(error).__name__}") as raised:
        round_trip(Leaving(error, *more))
    assert type(raised.value.__cause__) is type(error)


def test_ctrl_c_ends_the_loading_of_a_value():
    with pytest.raises(KeyboardInterrupt):
        round_trip(Leaving(KeyboardInterrupt()))


@pytest.mark.parametrize("cut", range(1, 40))
def test_a_cut_value_raises_and_never_crashes(cut):
    whole = _shoal._encode([np.arange(10), "x"])
    with pytest.raises((ValueError, pickle.UnpicklingError, EOFError)):
        _shoal._decode(whole[: len(whole) * cut // 40])


def test_bytes_that_no_writer_makes_raise():
    for first in range(256):
        for rest in (b"", b"\xff" * 7, b"\xff" * 40):
            try:
                _shoal._decode(bytes([first]) + rest)
            except Exception:
                continue


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        ((), {}),
        ((1,), {}),
        ((None, True, False, -5, 2.5, "s", b"b"), {}),
        ((2**70, "x" * 5000, b"y" * 5000), {}),
        (([1, 2], {"k": (3,)}), {"name": "v", "other": [None]}),
        ((), {"only": 1}),
        (tuple(range(300)), {str(i): i for i in range(300)}),
    ],
)
def test_arguments_come_back(args, kwargs):
    (back_args, back_kwargs), _ = _shoal._arguments(args, kwargs)
    assert back_args == args
    assert back_kwargs == kwargs
    assert list(back_kwargs) == list(kwargs)


def test_small_arguments_are_small():
    assert _shoal._arguments((), {})[1] == 0
    assert _shoal._arguments((1,), {})[1] <= 16


def test_array_arguments_come_back():
    (args, _), _ = _shoal._arguments((np.arange(100), [np.ones(3)]), {})
    np.testing.assert_array_equal(args[0], np.arange(100))
    np.testing.assert_array_equal(args[1][0], np.ones(3))
