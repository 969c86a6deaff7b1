"""Actors: state, order, concurrency, names, lifetime, restarts."""

import _thread
import asyncio
import gc
import os
import pathlib
import threading
import time
import types

import pytest

import shoal
from shoal import exceptions
from support import eventually

pytestmark = pytest.mark.usefixtures("runtime")


@shoal.remote
class Counter:
    def __init__(self, start=0):
        self.value = start

    def add(self, n=1):
        self.value += n
        return self.value

    def get(self):
        return self.value

    def pid(self):
        return os.getpid()

    def fail(self, error):
        raise error

    def crash(self):
        os._exit(1)

    @shoal.method(num_returns=2)
    def pair(self):
        return self.value, -self.value

    def exit(self):
        shoal.actor.exit_actor()

    def wait_for(self, path):
        while not os.path.exists(path):
            time.sleep(0.005)
        return self.value


def alive(pid):
    return os.path.exists(f"/proc/{pid}")


def test_an_actor_keeps_its_state():
    counter = Counter.remote(10)
    assert shoal.get(counter.add.remote()) == 11
    assert shoal.get(counter.add.remote(n=5)) == 16
    assert shoal.get(counter.get.remote()) == 16


def test_calls_run_in_order():
    counter = Counter.remote()
    assert shoal.get([counter.add.remote() for _ in range(2000)]) == list(range(1, 2001))


def test_methods_with_several_results():
    a, b = Counter.remote(3).pair.remote()
    assert shoal.get([a, b]) == [3, -3]
    single = Counter.remote(3).pair.options(num_returns=1).remote()
    assert shoal.get(single) == (3, -3)


def test_an_error_in_a_method_leaves_the_actor_alive():
    counter = Counter.remote(1)
    with pytest.raises(KeyError):
        shoal.get(counter.fail.remote(KeyError("x")))
    assert shoal.get(counter.get.remote()) == 1


def test_unknown_methods_and_options_are_refused_at_once():
    counter = Counter.remote()
    with pytest.raises(AttributeError, match="no method 'nothing'"):
        counter.nothing.remote()
    with pytest.raises(ValueError, match="is not an option of a method"):
        counter.add.options(num_cpus=1)
    with pytest.raises(TypeError, match=r"add\.remote\(\)"):
        counter.add()


def test_a_constructor_that_fails_kills_the_actor(tmp_path):
    @shoal.remote(max_restarts=1)  # for crashes
    class Broken:
        def __init__(self):
            with open(tmp_path / "runs", "a") as runs:
                runs.write("x")
            raise ValueError("no way")

        def work(self):
            pass

    broken = Broken.remote()
    with pytest.raises(exceptions.ActorDiedError, match="no way"):
        shoal.get(broken.work.remote(), timeout=60)
    assert os.path.getsize(tmp_path / "runs") == 1


def test_a_killed_actor_is_dead():
    counter = Counter.remote()
    pid = shoal.get(counter.pid.remote())
    shoal.kill(counter)
    with pytest.raises(exceptions.ActorDiedError):
        shoal.get(counter.get.remote(), timeout=60)
    eventually(lambda: not alive(pid))


def test_a_crash_is_an_actor_died_error():
    counter = Counter.remote()
    with pytest.raises(exceptions.RayActorError):
        shoal.get(counter.crash.remote(), timeout=60)
    with pytest.raises(exceptions.ActorDiedError):
        shoal.get(counter.get.remote(), timeout=60)


def test_an_actor_ends_with_its_last_handle():
    counter = Counter.remote()
    pid = shoal.get(counter.pid.remote())
    del counter
    gc.collect()
    eventually(lambda: not alive(pid))


def test_calls_that_wait_are_finished_before_the_actor_ends():
    counter = Counter.remote()
    refs = [counter.add.remote() for _ in range(100)]
    del counter
    gc.collect()
    assert shoal.get(refs, timeout=60) == list(range(1, 101))


def test_a_handle_may_be_passed_to_tasks_and_actors():
    @shoal.remote
    def use(handle, nested):
        assert nested[0] == handle
        return shoal.get(handle.add.remote())

    counter = Counter.remote()
    assert sorted(shoal.get([use.remote(counter, [counter]) for _ in range(5)])) == [1, 2, 3, 4, 5]


def test_an_actor_lives_while_another_process_has_its_handle():
    @shoal.remote
    class Holder:
        def hold(self, handles):
            self.handle = handles[0]

        def use(self):
            return shoal.get(self.handle.add.remote())

    holder, counter = Holder.remote(), Counter.remote()
    shoal.get(holder.hold.remote([counter]))
    del counter
    gc.collect()
    assert shoal.get(holder.use.remote(), timeout=60) == 1


def test_exit_actor_ends_it_for_good():
    counter = Counter.options(max_restarts=5).remote()
    pid = shoal.get(counter.pid.remote())
    with pytest.raises(exceptions.ActorDiedError, match="exit_actor"):
        shoal.get(counter.exit.remote(), timeout=60)
    with pytest.raises(exceptions.ActorDiedError):
        shoal.get(counter.get.remote(), timeout=60)
    eventually(lambda: not alive(pid))


def test_exit_actor_is_for_actors():
    with pytest.raises(TypeError, match="inside an actor"):
        shoal.actor.exit_actor()


def test_an_actor_restarts_with_fresh_state():
    counter = Counter.options(max_restarts=1).remote(5)
    shoal.get(counter.add.remote())
    with pytest.raises(exceptions.RayActorError):
        shoal.get(counter.crash.remote(), timeout=60)

    def value():
        try:
            return shoal.get(counter.get.remote(), timeout=60) == 5
        except exceptions.ActorUnavailableError:
            return False

    eventually(value)
    with pytest.raises(exceptions.RayActorError):
        shoal.get(counter.crash.remote(), timeout=60)
    with pytest.raises(exceptions.ActorDiedError):
        shoal.get(counter.get.remote(), timeout=60)


def test_calls_are_retried_over_a_restart_on_request(tmp_path):
    @shoal.remote(max_restarts=2, max_task_retries=2)
    class Fragile:
        def work(self, path):
            with open(path, "a") as file:
                file.write("x")
            if os.path.getsize(path) == 1:
                os._exit(1)
            return os.path.getsize(path)

        def was_restarted(self):
            return shoal.get_runtime_context().was_current_actor_reconstructed

    fragile = Fragile.remote()
    assert shoal.get(fragile.work.remote(str(tmp_path / "runs")), timeout=60) == 2
    assert shoal.get(fragile.was_restarted.remote(), timeout=60) is True


def test_kill_with_restart():
    counter = Counter.options(max_restarts=1, max_task_retries=-1).remote(7)
    first = shoal.get(counter.pid.remote())
    shoal.kill(counter, no_restart=False)
    assert shoal.get(counter.get.remote(), timeout=60) == 7
    deadline = time.monotonic() + 60  # a call may overtake the kill
    while shoal.get(counter.pid.remote(), timeout=60) == first:
        assert time.monotonic() < deadline


def test_names():
    counter = Counter.options(name="by-name").remote(1)
    assert shoal.get(shoal.get_actor("by-name").add.remote()) == 2
    with pytest.raises(ValueError, match="taken"):
        Counter.options(name="by-name").remote()
    again = Counter.options(name="by-name", get_if_exists=True).remote(100)
    assert again == counter
    assert shoal.get(again.get.remote()) == 2
    with pytest.raises(ValueError):
        shoal.get_actor("nobody")
    with pytest.raises(ValueError):
        shoal.get_actor("by-name", namespace="elsewhere")

    @shoal.remote
    def use():
        return shoal.get(shoal.get_actor("by-name").add.remote())

    assert shoal.get(use.remote()) == 3
    shoal.kill(counter)

    def is_free():
        try:
            shoal.get_actor("by-name")
        except ValueError:
            return True
        return False

    eventually(is_free)


def test_namespaces_of_names():
    other = Counter.options(name="spaced", namespace="other").remote(5)
    assert shoal.get(shoal.get_actor("spaced", namespace="other").get.remote()) == 5
    assert shoal.get(other.get.remote()) == 5


def test_a_detached_actor_outlives_its_handles():
    Counter.options(name="detached", lifetime="detached").remote(1)
    gc.collect()
    assert shoal.get(shoal.get_actor("detached").add.remote(), timeout=60) == 2
    shoal.kill(shoal.get_actor("detached"))


def test_threads_of_an_actor_overlap():
    @shoal.remote(max_concurrency=4)
    class Threaded:
        def __init__(self):
            self.barrier = threading.Barrier(4)

        def meet(self):
            self.barrier.wait(30)
            return threading.get_ident()

    threaded = Threaded.remote()
    for _ in range(20):  # the first time threads are started, then those that sleep are woken
        assert len(set(shoal.get([threaded.meet.remote() for _ in range(4)], timeout=60))) == 4


def test_calls_of_an_actor_run_also_where_no_thread_can_be_started():
    @shoal.remote(max_concurrency=4)
    class Poor:
        def __init__(self):
            def refuse(*args):
                raise RuntimeError("can't start new thread")

            _thread.start_new_thread = refuse

        def name(self):
            return threading.current_thread().name

    poor = Poor.remote()
    assert set(shoal.get([poor.name.remote() for _ in range(10)], timeout=60)) == {"MainThread"}


def test_a_fork_in_a_thread_of_an_actor_leaves_no_second_worker():
    @shoal.remote(max_concurrency=4)
    class Forking:
        def __init__(self):
            self.barrier = threading.Barrier(2)

        def fork(self):
            self.barrier.wait(30)  # one of the two is not the main thread
            child = os.fork()
            if child == 0:
                return None  # its answer is nobody's
            return os.waitpid(child, 0)[1]

    forking = Forking.remote()
    for _ in range(3):
        assert shoal.get([forking.fork.remote() for _ in range(2)], timeout=60) == [0, 0]


def test_threads_of_an_actor_never_exceed_max_concurrency():
    @shoal.remote(max_concurrency=3)
    class Threaded:
        def __init__(self):
            self.running = self.most = 0
            self.lock = threading.Lock()

        def work(self):
            with self.lock:
                self.running += 1
                self.most = max(self.most, self.running)
            time.sleep(0.002)
            with self.lock:
                self.running -= 1

        def most_at_once(self):
            return self.most

    threaded = Threaded.remote()
    shoal.get([threaded.work.remote() for _ in range(50)], timeout=60)
    assert 1 <= shoal.get(threaded.most_at_once.remote()) <= 3


def test_concurrency_groups_run_beside_each_other(tmp_path):
    gate = str(tmp_path / "gate")

    @shoal.remote(concurrency_groups={"io": 1, "compute": 1})
    class Grouped:
        @shoal.method(concurrency_group="io")
        def block(self, path):
            while not os.path.exists(path):
                time.sleep(0.005)
            return "io"

        @shoal.method(concurrency_group="compute")
        def compute(self):
            return "compute"

        def other(self):
            return "default"

    grouped = Grouped.remote()
    blocked = grouped.block.remote(gate)
    assert shoal.get(grouped.compute.remote(), timeout=60) == "compute"
    assert shoal.get(grouped.other.remote(), timeout=60) == "default"
    assert shoal.get(grouped.other.options(concurrency_group="compute").remote(), timeout=60) == "default"
    assert shoal.wait([blocked], timeout=0)[0] == []
    pathlib.Path(gate).touch()
    assert shoal.get(blocked, timeout=60) == "io"


@shoal.remote
class Async:
    def __init__(self):
        self.event = asyncio.Event()
        self.loop = asyncio.get_running_loop()

    async def wait(self):
        await self.event.wait()
        return "released"

    async def release(self):
        self.event.set()

    async def add(self, a, b=0):
        return a + b

    def plain(self):
        return asyncio.get_running_loop() is self.loop

    async def fail(self):
        raise KeyError("async")

    async def forever(self, path):
        pathlib.Path(path).touch()
        await asyncio.sleep(600)

    async def await_ref(self, refs):
        return await refs[0]

    async def task_id(self):
        before = shoal.get_runtime_context().get_task_id()
        await asyncio.sleep(0)
        return before, shoal.get_runtime_context().get_task_id()


def test_coroutines_overlap():
    actor = Async.remote()
    waiting = [actor.wait.remote() for _ in range(100)]
    shoal.get(actor.release.remote(), timeout=60)
    assert shoal.get(waiting, timeout=60) == ["released"] * 100


@shoal.remote
class EchoServer:
    """Its event loop serves a socket, threads and calls."""

    async def start(self):
        async def echo(reader, writer):
            while line := await reader.readline():
                writer.write(line)
            writer.close()

        self.server = await asyncio.start_server(echo, "127.0.0.1", 0)
        return self.server.sockets[0].getsockname()[1]

    async def ask(self, port, word):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(word.encode() + b"\n")
        answer = await reader.readline()
        writer.close()
        return answer.decode().strip()

    async def get_in_thread(self, refs):
        return await asyncio.to_thread(shoal.get, refs[0])

    async def add(self, a, b):
        return a + b


def test_the_loop_of_an_asyncio_actor_serves_sockets_and_threads_between_calls():
    server = EchoServer.remote()
    port = shoal.get(server.start.remote(), timeout=60)
    words = [server.ask.remote(port, f"word{i}") for i in range(20)]
    in_threads = [server.get_in_thread.remote([server.add.remote(i, 1)]) for i in range(20)]
    sums = [server.add.remote(i, i) for i in range(1000)]
    assert shoal.get(words, timeout=60) == [f"word{i}" for i in range(20)]
    assert shoal.get(in_threads, timeout=60) == [i + 1 for i in range(20)]
    assert shoal.get(sums, timeout=60) == [2 * i for i in range(1000)]


def test_asyncio_actors_return_values_and_errors():
    actor = Async.remote()
    assert shoal.get([actor.add.remote(i, b=1) for i in range(500)]) == [i + 1 for i in range(500)]
    assert shoal.get(actor.plain.remote()) is True
    with pytest.raises(KeyError):
        shoal.get(actor.fail.remote())


class Later:
    """An awaitable that is no coroutine."""

    def __await__(self):
        yield from asyncio.sleep(0).__await__()
        return "later"


@shoal.remote
class Awaitables:
    """What its methods return is awaited, whatever its kind."""

    async def timed(self):
        await asyncio.wait_for(asyncio.sleep(0), 60)
        return asyncio.current_task() in asyncio.all_tasks()

    def later(self):
        return Later()

    @types.coroutine
    def generator(self):
        yield from asyncio.sleep(0).__await__()
        return "generator"

    def put(self):
        return shoal.put("reference")

    async def suppress(self):
        try:
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            return "not now"

    async def gather(self):
        return await asyncio.gather(*(asyncio.sleep(0, i) for i in range(3)))

    async def nothing(self):
        raise StopAsyncIteration

    async def started(self):
        return True


def test_whatever_can_be_awaited_is():
    actor = Awaitables.remote()
    assert shoal.get(actor.timed.remote(), timeout=60) is True
    assert shoal.get(actor.later.remote(), timeout=60) == "later"
    assert shoal.get(actor.generator.remote(), timeout=60) == "generator"
    assert shoal.get(actor.put.remote(), timeout=60) == "reference"
    assert shoal.get(actor.gather.remote(), timeout=60) == [0, 1, 2]
    with pytest.raises(StopAsyncIteration):
        shoal.get(actor.nothing.remote(), timeout=60)


def test_a_coroutine_may_decline_its_cancellation():
    actor = Awaitables.remote()
    ref = actor.suppress.remote()
    assert shoal.get(actor.started.remote(), timeout=60)  # it began before this one
    shoal.cancel(ref)
    assert shoal.get(ref, timeout=60) == "not now"


def test_a_coroutine_is_cancelled(tmp_path):
    actor = Async.remote()
    started = tmp_path / "started"
    ref = actor.forever.remote(str(started))
    eventually(started.exists)
    shoal.cancel(ref)
    with pytest.raises(exceptions.TaskCancelledError):
        shoal.get(ref, timeout=30)
    assert shoal.get(actor.add.remote(1), timeout=30) == 1


def test_coroutines_await_references():
    @shoal.remote
    def work():
        return 5

    actor = Async.remote()
    assert shoal.get(actor.await_ref.remote([work.remote()]), timeout=60) == 5


def test_each_coroutine_knows_its_own_task():
    actor = Async.remote()
    pairs = shoal.get([actor.task_id.remote() for _ in range(10)])
    assert all(before == after for before, after in pairs)
    assert len({before for before, _ in pairs}) == 10


def test_max_concurrency_bounds_coroutines():
    @shoal.remote(max_concurrency=2)
    class Bounded:
        def __init__(self):
            self.running = self.most = 0

        async def work(self):
            self.running += 1
            self.most = max(self.most, self.running)
            await asyncio.sleep(0.002)
            self.running -= 1
            return self.most

    bounded = Bounded.remote()
    assert max(shoal.get([bounded.work.remote() for _ in range(20)], timeout=60)) == 2


def test_a_queued_call_is_cancelled_and_does_not_run(tmp_path):
    counter, gate = Counter.remote(), str(tmp_path / "gate")
    blocked = counter.wait_for.remote(gate)
    queued = counter.add.remote(100)
    after = counter.add.remote(1)
    shoal.cancel(queued)
    pathlib.Path(gate).touch()
    with pytest.raises(exceptions.TaskCancelledError):
        shoal.get(queued, timeout=30)
    assert shoal.get(blocked, timeout=30) == 0
    assert shoal.get(after, timeout=30) == 1


@pytest.mark.parametrize("threads", [1, 2])
def test_a_running_call_is_cancelled_and_the_actor_lives(tmp_path, threads):
    @shoal.remote(max_concurrency=threads)
    class Sleeper:
        def sleep(self, path):
            pathlib.Path(path).touch()
            for _ in range(60_000):
                time.sleep(0.01)

        def get(self, path, refs):
            pathlib.Path(path).touch()
            return shoal.get(refs[0])

        def work(self):
            return "works"

    @shoal.remote(resources={"unobtainium": 1})
    def never():
        pass

    sleeper, forever = Sleeper.remote(), never.remote()
    for number, call in enumerate((sleeper.sleep, sleeper.get)):
        started = tmp_path / f"started-{number}"
        ref = call.remote(str(started), [forever]) if number else call.remote(str(started))
        eventually(started.exists)
        shoal.cancel(ref)
        with pytest.raises(exceptions.TaskCancelledError):
            shoal.get(ref, timeout=30)
        assert shoal.get([sleeper.work.remote() for _ in range(5)], timeout=30) == ["works"] * 5
    shoal.cancel(forever)


def test_max_pending_calls(tmp_path):
    counter = Counter.options(max_pending_calls=3).remote()
    gate = str(tmp_path / "gate")
    refs = [counter.wait_for.remote(gate) for _ in range(3)]
    with pytest.raises(exceptions.PendingCallsLimitExceeded):
        counter.get.remote()
    pathlib.Path(gate).touch()
    shoal.get(refs, timeout=60)
    assert shoal.get(counter.get.remote(), timeout=60) == 0


def test_methods_that_every_actor_has():
    counter = Counter.remote(4)
    assert shoal.get(counter.__ray_ready__.remote(), timeout=60) is True
    assert shoal.get(counter.__ray_call__.remote(lambda self, x: self.value + x, 1)) == 5
    with pytest.raises(exceptions.ActorDiedError):
        shoal.get(counter.__ray_terminate__.remote(), timeout=60)


def test_an_actor_knows_itself():
    @shoal.remote
    class Self:
        def handle(self):
            return shoal.get_runtime_context().current_actor

        def actor_id(self):
            return shoal.get_runtime_context().get_actor_id()

    actor = Self.remote()
    assert shoal.get(shoal.get(actor.handle.remote()).actor_id.remote()) == shoal.get(actor.actor_id.remote())


def test_many_actors_at_once():
    counters = [Counter.options(num_cpus=0).remote(i) for i in range(20)]
    assert shoal.get([counter.add.remote() for counter in counters], timeout=120) == list(range(1, 21))


def test_inheritance_and_properties():
    class Base:
        def inherited(self):
            return "base"

    @shoal.remote
    class Derived(Base):
        @classmethod
        def of_class(cls):
            return cls.__name__

        @staticmethod
        def static():
            return "static"

    actor = Derived.remote()
    assert shoal.get([actor.inherited.remote(), actor.of_class.remote(), actor.static.remote()]) == [
        "base",
        "Derived",
        "static",
    ]
