"""Tasks: results, errors, retries, nesting, waiting, cancelling, where they run."""

import os
import pathlib
import pickle
import shutil
import sys
import threading
import time

import pytest

import shoal
from shoal import exceptions
from support import eventually

pytestmark = pytest.mark.usefixtures("runtime")


@shoal.remote
def add(a, b=0):
    return a + b


@shoal.remote
def fail(error):
    raise error


@shoal.remote
def spread(count):
    return tuple(range(count))


@shoal.remote
def wait_for(path):
    """Runs until the file exists."""
    while not os.path.exists(path):
        time.sleep(0.005)
    return path


def test_a_task_returns_its_value():
    assert shoal.get(add.remote(1, 2)) == 3
    assert shoal.get(add.remote(1, b=2)) == 3
    assert shoal.get(add.remote(b=2, a=1)) == 3


def test_many_tasks_return_in_order():
    assert shoal.get([add.remote(i, i) for i in range(2000)]) == [2 * i for i in range(2000)]


def test_get_takes_tuples_and_empty_lists():
    assert shoal.get((add.remote(1), add.remote(2))) == [1, 2]
    assert shoal.get([]) == []


def test_the_same_reference_twice_gives_the_value_twice():
    ref = add.remote(1)
    assert shoal.get([ref, ref]) == [1, 1]


def test_get_says_what_it_takes():
    with pytest.raises(ValueError, match="ObjectRef"):
        shoal.get(5)
    with pytest.raises(ValueError, match="item 1 is a int"):
        shoal.get([add.remote(1), 5])
    with pytest.raises(ValueError, match="timeout must be"):
        shoal.get(add.remote(1), timeout=-1)
    with pytest.raises(TypeError, match="timeout must be"):
        shoal.get(add.remote(1), timeout="soon")


def test_a_reference_argument_arrives_as_its_value():
    assert shoal.get(add.remote(add.remote(1, 2), b=add.remote(3))) == 6


def test_a_reference_inside_a_list_arrives_as_a_reference():
    @shoal.remote
    def total(refs):
        assert all(isinstance(ref, shoal.ObjectRef) for ref in refs)
        return sum(shoal.get(refs))

    assert shoal.get(total.remote([add.remote(1), add.remote(2)])) == 3


def test_a_task_may_return_references():
    @shoal.remote
    def indirect():
        return [add.remote(1, 1), shoal.put("x" * 200_000)]

    small, large = shoal.get(indirect.remote())
    assert shoal.get(small) == 2
    assert shoal.get(large) == "x" * 200_000


def test_a_chain_of_tasks():
    ref = add.remote(0)
    for _ in range(100):
        ref = add.remote(ref, 1)
    assert shoal.get(ref) == 100


def test_nested_tasks_do_not_deadlock_on_few_cpus():
    @shoal.remote
    def fibonacci(n):
        return n if n < 2 else sum(shoal.get([fibonacci.remote(n - 1), fibonacci.remote(n - 2)]))

    assert shoal.get(fibonacci.remote(7), timeout=60) == 13


def test_deep_nesting_does_not_deadlock():
    @shoal.remote
    def descend(depth):
        return 0 if depth == 0 else 1 + shoal.get(descend.remote(depth - 1))

    assert shoal.get(descend.remote(12), timeout=60) == 12


def test_several_results():
    @shoal.remote(num_returns=3)
    def three():
        return 1, "two", [3]

    a, b, c = three.remote()
    assert shoal.get([a, b, c]) == [1, "two", [3]]


def test_a_generator_with_declared_results():
    @shoal.remote(num_returns=2)
    def two():
        yield 1
        yield 2

    assert shoal.get(two.remote()) == [1, 2]


def test_no_results():
    @shoal.remote(num_returns=0)
    def nothing(path):
        pathlib.Path(path).touch()

    assert nothing.remote("/dev/null") is None


def test_a_wrong_number_of_results_is_an_error():
    @shoal.remote(num_returns=2)
    def wrong(value):
        return value

    for value, message in (((1, 2, 3), "not 3"), ((1,), "not 1"), (5, "not a int")):
        refs = wrong.remote(value)
        for ref in refs:
            with pytest.raises((ValueError, TypeError), match=message):
                shoal.get(ref)


def test_an_error_arrives_with_class_and_traceback():
    with pytest.raises(KeyError) as caught:
        shoal.get(fail.remote(KeyError("lost")))
    assert isinstance(caught.value, exceptions.RayTaskError)
    assert "fail() failed" in str(caught.value)
    assert "test_tasks.py" in str(caught.value)
    assert "worker.py" not in str(caught.value)


def test_an_error_of_an_argument_reaches_the_dependent_task():
    with pytest.raises(ZeroDivisionError):
        shoal.get(add.remote(add.remote(fail.remote(ZeroDivisionError()), 1), 2))


def test_a_task_survives_what_its_code_raises():
    for error in (SystemExit(1), KeyboardInterrupt(), GeneratorExit()):
        with pytest.raises(exceptions.TaskError):
            shoal.get(fail.remote(error))
    assert shoal.get(add.remote(1)) == 1


def test_a_worker_reports_an_exception_that_refuses_to_be_looked_at():
    class Hostile(Exception):
        def __getattribute__(self, name):
            raise RuntimeError(f"no {name}")

    @shoal.remote(retry_exceptions=[ValueError])
    def work():
        raise Hostile("why")

    with pytest.raises(exceptions.TaskError, match="Hostile: why"):
        shoal.get(work.remote())


def test_a_result_that_cannot_be_pickled_is_an_error():
    @shoal.remote
    def lock():
        return threading.Lock()

    with pytest.raises(TypeError, match="cannot be sent to another process"):
        shoal.get(lock.remote())


def test_a_function_that_cannot_be_loaded_is_an_error():
    class Broken:
        def __reduce__(self):
            return (exec, ("raise ImportError('not here')",))

    broken = Broken()

    @shoal.remote
    def use():
        return broken

    with pytest.raises(RuntimeError, match="use cannot be loaded"):
        shoal.get(use.remote())


def test_functions_see_globals_closures_and_each_other():
    factor = 3

    def helper(x):
        return x * factor

    @shoal.remote
    def outer(x):
        return shoal.get(inner.remote(helper(x)))

    @shoal.remote
    def inner(x):
        return x + 1

    assert shoal.get(outer.remote(2)) == 7


def test_builtins_and_partials_may_be_remote():
    import functools

    assert shoal.get(shoal.remote(len).remote([1, 2])) == 2
    assert shoal.get(shoal.remote(functools.partial(pow, 2)).remote(5)) == 32


def test_a_crash_is_retried_and_counted(tmp_path):
    @shoal.remote(max_retries=2)
    def crash(path):
        with open(path, "a") as file:
            file.write("x")
        if os.path.getsize(path) < 3:
            os._exit(1)
        return shoal.get_runtime_context().get_attempt_number()

    assert shoal.get(crash.remote(str(tmp_path / "runs")), timeout=60) == 2


def test_a_crash_without_retries_left_says_so():
    @shoal.remote(max_retries=0)
    def crash():
        os._exit(7)

    with pytest.raises(exceptions.WorkerCrashedError):
        shoal.get(crash.remote(), timeout=60)


def test_errors_are_retried_only_on_request(tmp_path):
    def body(path, error):
        with open(path, "a") as file:
            file.write("x")
        if os.path.getsize(path) < 3:
            raise error
        return os.path.getsize(path)

    never = str(tmp_path / "never")
    with pytest.raises(ValueError):
        shoal.get(shoal.remote(body).remote(never, ValueError()))
    assert os.path.getsize(never) == 1
    always = shoal.remote(max_retries=5, retry_exceptions=True)(body)
    assert shoal.get(always.remote(str(tmp_path / "always"), ValueError()), timeout=60) == 3
    listed = shoal.remote(max_retries=5, retry_exceptions=[KeyError])(body)
    assert shoal.get(listed.remote(str(tmp_path / "listed"), KeyError()), timeout=60) == 3
    other = str(tmp_path / "other")
    with pytest.raises(ValueError):
        shoal.get(listed.remote(other, ValueError()), timeout=60)
    assert os.path.getsize(other) == 1


def test_get_times_out(tmp_path):
    gate = str(tmp_path / "gate")
    ref = wait_for.remote(gate)
    missing = f"object {ref.hex()}, which wait_for makes,"
    with pytest.raises(exceptions.GetTimeoutError, match=f"the value of {missing} was not there in time"):
        shoal.get(ref, timeout=0.05)
    with pytest.raises(TimeoutError, match=f"not all of the values were there in time: {missing} was not"):
        shoal.get([shoal.put(1), ref], timeout=0)
    pathlib.Path(gate).touch()
    assert shoal.get(ref, timeout=60) == gate


def test_wait_splits_in_order(tmp_path):
    gate = str(tmp_path / "gate")
    slow = wait_for.remote(gate)
    fast = [add.remote(i) for i in range(3)]
    ready, rest = shoal.wait([slow, *fast], num_returns=3, timeout=60)
    assert ready == fast
    assert rest == [slow]
    ready, rest = shoal.wait([slow], timeout=0)
    assert (ready, rest) == ([], [slow])
    pathlib.Path(gate).touch()
    assert shoal.wait([slow], timeout=60) == ([slow], [])


def test_wait_counts_errors_as_ready():
    ref = fail.remote(ValueError())
    assert shoal.wait([ref], timeout=60) == ([ref], [])


def test_wait_says_what_it_takes():
    ref = add.remote(1)
    with pytest.raises(ValueError, match="once"):
        shoal.wait([ref, ref])
    with pytest.raises(ValueError, match="num_returns"):
        shoal.wait([ref], num_returns=2)
    for odd in (1.5, "1", None, True):
        with pytest.raises(TypeError, match="num_returns must be an int, not"):
            shoal.wait([ref], num_returns=odd)
    with pytest.raises(ValueError, match="num_returns"):
        shoal.wait([ref], num_returns=10**400)
    with pytest.raises(TypeError, match="list of ObjectRefs"):
        shoal.wait(ref)
    assert shoal.wait([]) == ([], [])


def test_cancelling_a_running_task_interrupts_even_a_sleep(tmp_path):
    started = tmp_path / "started"

    @shoal.remote
    def sleep():
        started.touch()
        time.sleep(600)

    ref = sleep.remote()
    eventually(started.exists)
    shoal.cancel(ref)
    with pytest.raises(exceptions.TaskCancelledError):
        shoal.get(ref, timeout=30)
    assert shoal.get(add.remote(1), timeout=30) == 1


def test_cancelling_a_task_that_waits_in_get(tmp_path):
    gate, started = tmp_path / "gate", tmp_path / "started"

    @shoal.remote
    def outer(refs):
        started.touch()
        return shoal.get(refs[0])

    inner = wait_for.remote(str(gate))
    ref = outer.remote([inner])
    eventually(started.exists)
    shoal.cancel(ref)
    with pytest.raises(exceptions.TaskCancelledError):
        shoal.get(ref, timeout=30)
    gate.touch()
    assert shoal.get(inner, timeout=30) == str(gate)


def test_cancelling_a_task_before_it_runs(tmp_path):
    gate = tmp_path / "gate"
    blocked = wait_for.remote(str(gate))
    ref = add.remote(blocked, "x")
    shoal.cancel(ref)
    with pytest.raises(exceptions.TaskCancelledError):
        shoal.get(ref, timeout=30)
    gate.touch()
    assert shoal.get(blocked, timeout=30) == str(gate)


def test_cancelling_a_task_that_is_just_starting_is_not_lost():
    @shoal.remote
    def run(for_ever):
        return not for_ever or threading.Event().wait()

    shoal.get(run.remote(False), timeout=30)
    for i in range(200):
        ref = run.remote(True)
        end = time.perf_counter() + i * 2e-6  # at every moment of its start
        while time.perf_counter() < end:
            pass
        shoal.cancel(ref)
        with pytest.raises(exceptions.TaskCancelledError):
            shoal.get(ref, timeout=20)


def test_cancelling_a_finished_task_does_nothing():
    for _ in range(200):
        ref = add.remote(1)
        assert shoal.get(ref) == 1
        shoal.cancel(ref)
    assert shoal.get(ref) == 1


def test_cancelling_by_force_kills_the_worker(tmp_path):
    started = tmp_path / "started"

    @shoal.remote
    def stubborn():
        started.touch()
        while True:
            try:
                time.sleep(600)
            except exceptions.TaskCancelledError:
                pass

    ref = stubborn.remote()
    eventually(started.exists)
    shoal.cancel(ref, force=True)
    with pytest.raises((exceptions.TaskCancelledError, exceptions.WorkerCrashedError)):
        shoal.get(ref, timeout=30)


def test_cancelling_reaches_the_children(tmp_path):
    started = tmp_path / "started"

    @shoal.remote(num_cpus=0)
    def child():
        started.touch()
        try:
            time.sleep(600)
        except exceptions.TaskCancelledError:
            (tmp_path / "cancelled").touch()
            raise

    @shoal.remote(num_cpus=0)
    def parent():
        return shoal.get(child.remote())

    ref = parent.remote()
    eventually(started.exists)
    shoal.cancel(ref)
    with pytest.raises(exceptions.TaskCancelledError):
        shoal.get(ref, timeout=30)
    eventually((tmp_path / "cancelled").exists)


def test_max_calls_gives_each_call_a_fresh_worker():
    @shoal.remote(max_calls=1)
    def pid():
        return os.getpid()

    pids = [shoal.get(pid.remote(), timeout=60) for _ in range(3)]
    assert len(set(pids)) == 3


def test_environment_variables_of_a_task():
    @shoal.remote(runtime_env={"env_vars": {"TEST_VARIABLE": "set"}})
    def read():
        return os.environ.get("TEST_VARIABLE"), shoal.get(child.remote())

    @shoal.remote
    def child():
        return os.environ.get("TEST_VARIABLE")

    assert shoal.get(read.remote(), timeout=60) == ("set", "set")
    assert shoal.get(child.remote(), timeout=60) is None
    other = child.options(runtime_env={"env_vars": {"TEST_VARIABLE": "other"}})
    assert shoal.get(other.remote(), timeout=60) == "other"


def test_workers_import_what_the_driver_imports():
    @shoal.remote
    def paths():
        import support

        return sys.path, support.__file__

    path, file = shoal.get(paths.remote())
    assert os.path.dirname(__file__) in path
    assert file == os.path.join(os.path.dirname(__file__), "support.py")


def test_workers_run_in_the_drivers_directory():
    assert shoal.get(shoal.remote(os.getcwd).remote()) == os.getcwd()


def test_custom_resources_bound_how_many_run(tmp_path):
    gate = tmp_path / "gate"

    @shoal.remote(resources={"gadget": 1}, num_cpus=0)
    def use(number):
        (tmp_path / f"started-{number}").touch()
        while not gate.exists():
            time.sleep(0.005)

    refs = [use.remote(i) for i in range(3)]
    eventually(lambda: len(list(tmp_path.glob("started-*"))) == 2)
    assert shoal.wait(refs, timeout=0.2)[0] == []
    assert len(list(tmp_path.glob("started-*"))) == 2
    gate.touch()
    shoal.get(refs, timeout=60)


def test_a_task_that_fits_nowhere_waits():
    ref = add.options(resources={"unobtainium": 1}).remote(1)
    assert shoal.wait([ref], timeout=0.2) == ([], [ref])
    shoal.cancel(ref)
    with pytest.raises(exceptions.TaskCancelledError):
        shoal.get(ref, timeout=30)


def test_tasks_may_be_submitted_from_many_threads():
    results = [None] * 8

    def work(index):
        results[index] = sum(shoal.get([add.remote(index, i) for i in range(100)]))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert results == [100 * i + 4950 for i in range(8)]


@shoal.remote
class Counts:
    def arguments(self, *values):
        return len(values)


def test_calls_larger_than_a_ring_arrive():
    """A call of some megabytes is written piece by piece as the worker reads; whoever sleeps is woken for each."""

    @shoal.remote
    def arguments(*values, code=bytes(3_000_000)):
        return len(values) + len(code)

    counts = Counts.remote()
    megabytes = [bytes(90_000) for _ in range(44)]
    for _ in range(5):
        assert shoal.get(counts.arguments.remote(*megabytes), timeout=30) == 44
        assert shoal.get(arguments.remote(*megabytes), timeout=30) == 3_000_044


def test_what_no_message_could_carry_is_refused():
    """Each in the call itself, and the session goes on."""
    long = "n" * 20_000_000
    with pytest.raises(ValueError, match="the task's name takes 20000000 bytes, 65536 at most"):
        add.options(name=long).remote(1)
    with pytest.raises(ValueError, match="the task's arguments take"):
        add.remote(**{long: 1})
    with pytest.raises(ValueError, match="num_returns is 1000000, 100000 at most"):
        add.options(num_returns=1_000_000).remote(1)
    with pytest.raises(ValueError, match="environment variables take"):
        add.options(runtime_env={"env_vars": {"X": long}}).remote(1)
    with pytest.raises(ValueError, match="the actor's name takes"):
        Counts.options(name=long).remote()
    with pytest.raises(ValueError, match="the actor's name takes"):
        shoal.get_actor(long)
    with pytest.raises(ValueError, match="the placement group's name takes"):
        shoal.util.placement_group([{"CPU": 1}], name=long)
    assert shoal.get(add.remote(1, 2), timeout=30) == 3


def test_too_many_references_in_a_result_are_an_error_of_the_task():
    @shoal.remote
    def work():
        ref = shoal.put(0)
        return [pickle.loads(pickle.dumps(ref)) for _ in range(100_001)]

    with pytest.raises(exceptions.TaskError, match="100001 references, 100000 at most") as raised:
        shoal.get(work.remote())
    assert isinstance(raised.value.cause, ValueError)


def test_many_results_and_their_error():
    count = 20_000
    refs = spread.options(num_returns=count).remote(count)
    assert shoal.get(refs, timeout=60) == list(range(count))
    refs = fail.options(num_returns=count).remote(ValueError("once"))
    for ref in (refs[0], refs[-1]):
        with pytest.raises(ValueError, match="once"):
            shoal.get(ref, timeout=60)


@pytest.mark.parametrize(
    ("name", "text"), [("A=B", "x"), ("", "x"), ("A", "null\0"), ("SHOAL_WORKER_ID", "1")], ids=repr
)
def test_environment_variables_that_cannot_be_are_refused(name, text):
    with pytest.raises(ValueError, match="env_vars"):
        add.options(runtime_env={"env_vars": {name: text}})


def test_a_forked_child_that_returns_from_a_task_ends():
    @shoal.remote
    def fork():
        return os.fork()

    @shoal.remote
    class Forks:
        def fork(self):
            return os.fork()

    actors = [Forks.remote(), Forks.options(max_concurrency=2).remote()]
    for ref in [fork.remote(), *(actor.fork.remote() for actor in actors)]:
        child = shoal.get(ref, timeout=30)
        eventually(lambda child=child: not _lives(child))
    assert shoal.get(add.remote(1), timeout=30) == 1


def _lives(pid):
    """False also for a zombie, which its worker has not looked at."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_flags_are_true_or_false():
    ref = add.remote(1)
    for call in (
        lambda: shoal.cancel(ref, force="no"),
        lambda: shoal.cancel(ref, recursive=0),
        lambda: shoal.kill(Counts.remote(), no_restart="no"),
    ):
        with pytest.raises(TypeError, match="must be True or False"):
            call()
    assert shoal.get(ref, timeout=30) == 1


def test_work_that_no_node_could_take_is_named(run_script):
    done = run_script(
        """
        import shoal, sys

        class Seen:
            text = ""
            def write(self, text): Seen.text += text
            def flush(self): pass

        sys.stderr = Seen()
        shoal.init(num_cpus=1)

        @shoal.remote(num_cpus=1000)
        def large(): pass

        ref = large.remote()
        while "tasks that want {CPU: 1000} wait: no node could take that" not in Seen.text:
            shoal.wait([ref], timeout=0.1)
        print("told")
        """
    )
    assert done.stdout == "told\n"


def test_a_function_that_did_not_load_once_may_load_later(tmp_path, monkeypatch):
    """Its code is sent once; that a module is missing, or that the task is cancelled meanwhile, does not lose it."""
    monkeypatch.syspath_prepend(tmp_path)
    late = tmp_path / "late_module.py"
    late.write_text("def f(x): return x + 1\n")
    import late_module

    function = shoal.remote(late_module.f)
    late.rename(tmp_path / "away")
    shutil.rmtree(tmp_path / "__pycache__", ignore_errors=True)
    add_path = shoal.remote(max_retries=0)(lambda path: __import__("sys").path.append(path))
    shoal.get([add_path.remote(str(tmp_path)) for _ in range(8)], timeout=30)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="cannot be loaded in the worker"):
            shoal.get(function.remote(1), timeout=30)
    (tmp_path / "away").rename(late)

    def loads():
        try:
            return shoal.get(function.remote(1), timeout=30) == 2
        except RuntimeError:  # a worker that has not got the path, or not looked at the directory again
            return False

    eventually(loads)
