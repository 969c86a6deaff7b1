"""ActorPool, Queue and iterators over results."""

import asyncio
import os
import threading

import pytest

import shoal
from shoal import exceptions
from shoal.util import ActorPool, as_completed, map_unordered
from shoal.util.queue import Empty, Full, Queue

pytestmark = pytest.mark.usefixtures("runtime")


@shoal.remote
class Worker:
    def double(self, x):
        if x < 0:
            raise ValueError("negative")
        return 2 * x

    def wait_for(self, path):
        while not os.path.exists(path):
            threading.Event().wait(0.01)


@pytest.fixture
def pool():
    return ActorPool([Worker.remote() for _ in range(2)])


def call(actor, value):
    return actor.double.remote(value)


def test_a_pool_maps_in_order(pool):
    assert list(pool.map(call, range(20))) == [2 * i for i in range(20)]
    assert sorted(pool.map_unordered(call, range(20))) == [2 * i for i in range(20)]


def test_a_pool_hands_out_results_one_by_one(pool):
    for i in range(5):
        pool.submit(call, i)
    assert not pool.has_free()
    assert [pool.get_next(timeout=30) for _ in range(5)] == [0, 2, 4, 6, 8]
    assert not pool.has_next()
    with pytest.raises(StopIteration):
        pool.get_next()


def test_a_pool_survives_errors(pool):
    results = pool.map(call, [1, -1, 3])
    assert next(results) == 2
    with pytest.raises(ValueError):
        next(results)
    assert list(pool.map(call, [5])) == [10]


def test_a_pool_gives_up_what_comes_too_late(pool, tmp_path):
    gate = tmp_path / "gate"
    pool.submit(lambda actor, path: actor.wait_for.remote(path), str(gate))
    pool.submit(call, 4)
    with pytest.raises(TimeoutError):
        pool.get_next(timeout=0.01)
    with pytest.raises(TimeoutError):
        pool.get_next(timeout=0.01, ignore_if_timedout=True)
    assert pool.get_next(timeout=30) == 8
    assert not pool.has_next()
    gate.touch()
    with pytest.raises(TypeError, match="one ObjectRef"):
        pool.submit(lambda actor, value: [actor.double.remote(value)], 1)
    empty = ActorPool([])
    empty.submit(call, 1)
    with pytest.raises(ValueError, match="no actors"):
        empty.get_next()


def test_a_pool_takes_and_gives_actors(pool):
    actor = pool.pop_idle()
    assert actor is not None
    pool.push(actor)
    with pytest.raises(ValueError, match="already"):
        pool.push(actor)


def test_a_queue_is_first_in_first_out():
    queue = Queue()
    for i in range(3):
        queue.put(i)
    assert len(queue) == 3
    assert [queue.get() for _ in range(3)] == [0, 1, 2]
    assert queue.empty()
    with pytest.raises(Empty):
        queue.get_nowait()
    with pytest.raises(Empty):
        queue.get(timeout=0.01)
    queue.shutdown()


def test_a_full_queue_refuses():
    queue = Queue(maxsize=2)
    queue.put_nowait_batch([1, 2])
    assert queue.full()
    with pytest.raises(Full):
        queue.put_nowait(3)
    with pytest.raises(Full):
        queue.put(3, timeout=0.01)
    assert queue.get_nowait_batch(2) == [1, 2]
    queue.shutdown()


def test_a_queue_is_shared_by_tasks():
    queue = Queue()

    @shoal.remote
    def produce(shared):
        for i in range(10):
            shared.put(i)

    @shoal.remote
    def consume(shared):
        return [shared.get(timeout=30) for _ in range(10)]

    consumed = consume.remote(queue)
    shoal.get(produce.remote(queue), timeout=60)
    assert shoal.get(consumed, timeout=60) == list(range(10))
    queue.shutdown()


def test_a_queue_that_was_shut_down_says_so():
    queue = Queue()
    queue.put(1)
    queue.shutdown()
    with pytest.raises(RuntimeError, match="shut down"):
        queue.get()
    queue.shutdown()


def test_a_waiting_get_is_woken_by_put():
    queue, got = Queue(), []
    thread = threading.Thread(target=lambda: got.append(queue.get(timeout=30)))
    thread.start()
    queue.put("item")
    thread.join(30)
    assert got == ["item"]

    async def main():
        await queue.put_async(1)
        return await queue.get_async(timeout=30)

    assert asyncio.run(main()) == 1
    queue.shutdown()


@shoal.remote
def square(x):
    if x < 0:
        raise ValueError("negative")
    return x * x


def test_results_as_they_come():
    assert sorted(as_completed([square.remote(i) for i in range(20)], timeout=60)) == [i * i for i in range(20)]
    assert sorted(map_unordered(square, range(20), backpressure_size=3)) == [i * i for i in range(20)]
    with pytest.raises(ValueError, match="negative"):
        list(as_completed([square.remote(-1)]))
    with pytest.raises(exceptions.GetTimeoutError):
        list(as_completed([square.options(resources={"unobtainium": 1}).remote(1)], timeout=0.05))
