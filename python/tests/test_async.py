"""Waiting without blocking: await, asyncio tools, futures."""

import asyncio
import concurrent.futures
import pathlib
import pickle
import time

import numpy as np
import pytest

import shoal

pytestmark = pytest.mark.usefixtures("runtime")


@shoal.remote
def square(x):
    return x * x


@shoal.remote
def fail():
    raise KeyError("async")


@shoal.remote
def wait_for(path):
    while not pathlib.Path(path).exists():
        time.sleep(0.005)
    return str(path)


def test_await():
    async def main():
        assert await square.remote(3) == 9
        assert await shoal.put(5) == 5
        with pytest.raises(KeyError):
            await fail.remote()
        return await asyncio.gather(*[square.remote(i) for i in range(100)])

    assert asyncio.run(main()) == [i * i for i in range(100)]


def test_a_reference_may_be_awaited_in_many_loops():
    ref = square.remote(4)

    async def main():
        return await ref, await ref

    assert asyncio.run(main()) == (16, 16)
    assert asyncio.run(main()) == (16, 16)


def test_await_large_values():
    async def main():
        return await shoal.put(np.arange(300_000))

    assert int(asyncio.run(main())[-1]) == 299_999


def test_the_loop_runs_while_a_reference_is_awaited(tmp_path):
    gate = tmp_path / "gate"

    async def main():
        waiting = asyncio.ensure_future(wait_for.remote(gate).as_future())
        await asyncio.sleep(0)
        assert not waiting.done()
        gate.touch()
        return await asyncio.wait_for(waiting, 30)

    assert asyncio.run(main()) == str(gate)


def test_giving_up_on_a_reference_leaves_it_usable(tmp_path):
    gate = tmp_path / "gate"

    async def main():
        ref = wait_for.remote(gate)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(ref.as_future(), 0.02)
        gate.touch()
        return await ref

    assert asyncio.run(main()) == str(gate)


def test_futures():
    futures = [square.remote(i).future() for i in range(50)]
    done, not_done = concurrent.futures.wait(futures, timeout=30)
    assert not not_done
    assert sorted(future.result() for future in done) == [i * i for i in range(50)]
    assert isinstance(fail.remote().future().exception(timeout=30), KeyError)


class Leaving:
    def __init__(self, error):
        self.error = error

    def __reduce__(self):
        return _leave, (self.error,)


def _leave(error):
    raise error


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()], ids=lambda e: type(e).__name__)
def test_a_value_cannot_end_the_thread_that_loads_it(error):
    future = shoal.put(Leaving(error)).future()
    with pytest.raises(pickle.UnpicklingError, match=f"its code raised {type(error).__name__}"):
        future.result(20)


def test_asyncio_wait_takes_futures():
    async def main():
        done, _ = await asyncio.wait([square.remote(i).as_future() for i in range(5)], timeout=30)
        return sorted(future.result() for future in done)

    assert asyncio.run(main()) == [0, 1, 4, 9, 16]
