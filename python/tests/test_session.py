"""Starting, joining and leaving a runtime, each in a process of its own."""

import os
import pathlib
import re
import signal
import subprocess
import sys

import pytest

from support import children_of, eventually


def test_a_runtime_starts_with_the_first_use_and_ends_with_the_program(run_script):
    done = run_script(
        """
        import os, shoal
        from support import children_of

        @shoal.remote
        def f():
            return 1

        assert not shoal.is_initialized()
        assert shoal.get(f.remote()) == 1
        assert shoal.is_initialized()
        print("pids", *children_of(os.getpid()))
        """,
        env=_with_tests_path(),
    )
    pids = re.search(r"pids (.*)", done.stdout).group(1).split()
    assert pids
    assert not [pid for pid in pids if pathlib.Path(f"/proc/{pid}").exists()]


def _with_tests_path():
    return {"PYTHONPATH": os.pathsep.join([os.path.dirname(__file__), os.environ.get("PYTHONPATH", "")])}


def test_init_shutdown_and_again(run_script):
    run_script(
        """
        import shoal
        from shoal import exceptions

        @shoal.remote
        def f(x):
            return x

        @shoal.remote
        class A:
            def m(self):
                return "m"

        for number in range(2):
            with shoal.init(num_cpus=1) as context:
                assert context["node_id"] == shoal.get_runtime_context().get_node_id()
                assert context.address_info["raylet_socket"]
                assert shoal.get(f.remote(number)) == number
                ref, actor = f.remote(1), A.remote()
                assert shoal.get(actor.m.remote()) == "m"
            assert not shoal.is_initialized()
            for stale in (lambda: shoal.get(ref), lambda: actor.m.remote()):
                try:
                    stale()
                except RuntimeError as error:
                    assert "shut down" in str(error), error
                else:
                    raise AssertionError("a stale reference was accepted")
                shoal.shutdown()
        """
    )


def test_init_twice_is_an_error(run_script):
    run_script(
        """
        import pytest, shoal
        shoal.init(num_cpus=1)
        with pytest.raises(RuntimeError, match="called twice"):
            shoal.init()
        assert shoal.init(ignore_reinit_error=True)["node_id"]
        shoal.shutdown()
        shoal.shutdown()
        """
    )


def test_a_second_driver_joins(run_script):
    run_script(
        """
        import os, subprocess, sys, shoal

        @shoal.remote
        class Store:
            def value(self):
                return 42

        context = shoal.init(num_cpus=2, namespace="shared")
        store = Store.options(name="store", lifetime="detached").remote()
        assert shoal.get(store.value.remote()) == 42
        program = '''
        import shoal
        shoal.init(address={address!r}, namespace="shared")
        assert shoal.get(shoal.get_actor("store").value.remote()) == 42
        f = shoal.remote(lambda: "joined")
        print(shoal.get(f.remote()))
        '''
        import textwrap
        for address in (context["raylet_socket"], os.path.dirname(context["raylet_socket"])):
            text = textwrap.dedent(program).format(address=address)
            done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=60)
            assert done.stdout == "joined\\n", done.stderr
        env = {**os.environ, "SHOAL_ADDRESS": context["raylet_socket"]}
        text = 'import shoal\\nshoal.init("auto")\\nprint(shoal.cluster_resources()["CPU"])'
        done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=60, env=env)
        assert done.stdout == "2.0\\n", done.stderr
        assert shoal.get(store.value.remote()) == 42
        """
    )


def test_addresses_that_lead_nowhere(run_script):
    run_script(
        """
        import pytest, shoal
        with pytest.raises(ValueError, match="start one first"):
            shoal.init(address="10.0.0.1:6380")
        with pytest.raises(ConnectionError, match="no raylet"):
            shoal.init(address="/nonexistent/raylet.sock")
        with pytest.raises(ValueError, match="leave it out"):
            shoal.init(address="/tmp", num_cpus=1)
        assert not shoal.is_initialized()
        """,
        env={"SHOAL_ADDRESS": ""},
    )


def test_odd_surroundings_of_a_program(run_script, tmp_path):
    run_script(
        """
        import os, pathlib, sys, shoal

        def here():
            return os.getcwd(), sys.path

        odd = os.fsdecode(b"/tmp/\\xff")
        sys.path += [5, None, b"/bytes", pathlib.Path("/path"), odd, "relative"]
        sys.argv = [5, odd]
        shoal.init(num_cpus=1)
        directory, paths = shoal.get(shoal.remote(here).remote())
        assert directory == os.getcwd()
        assert odd in paths and os.path.abspath("relative") in paths
        assert all(isinstance(path, str) for path in paths)
        shoal.shutdown()

        latin = os.path.join(os.environ["DIRECTORY"], os.fsdecode(b"\\xff"))
        os.mkdir(latin)
        os.chdir(latin)
        shoal.init(num_cpus=1)
        assert shoal.get(shoal.remote(here).remote())[0] == latin
        shoal.shutdown()

        os.rmdir(latin)
        del sys.argv
        shoal.init(num_cpus=1)
        assert shoal.get(shoal.remote(lambda: 1).remote()) == 1
        """,
        env={"DIRECTORY": str(tmp_path)},
    )


def test_a_runtime_that_cannot_start_says_why(run_script):
    run_script(
        """
        import pytest, shoal
        with pytest.raises(RuntimeError, match="did not start a runtime"):
            shoal.init(num_cpus=1)
        """,
        env={"SHOAL_BINARY": "/bin/false"},
    )
    run_script(
        """
        import pytest, shoal
        with pytest.raises(RuntimeError, match="did not start: cannot make the directory /proc/nowhere"):
            shoal.init(num_cpus=1)
        """,
        env={"XDG_RUNTIME_DIR": "/proc/nowhere"},
    )
    run_script(
        """
        import pytest, shoal
        with pytest.raises(FileNotFoundError, match="SHOAL_BINARY names /nowhere"):
            shoal.init(num_cpus=1)
        """,
        env={"SHOAL_BINARY": "/nowhere"},
    )


@pytest.mark.skipif(
    os.environ.get("SHOAL_SANITIZE") == "thread", reason="ThreadSanitizer holds signals back from a thread that waits"
)
def test_ctrl_c_interrupts_get_and_leaves_nothing(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import shoal, signal, time\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in what a shell runs in the background\n"
        "@shoal.remote\n"
        "def sleep():\n"
        "    time.sleep(600)\n"
        "shoal.init(num_cpus=1)\n"
        "ref = sleep.remote()\n"
        "try:\n"
        "    print('waiting', flush=True)\n"
        "    shoal.get(ref)\n"
        "except KeyboardInterrupt:\n"
        "    print('interrupted', flush=True)\n"
    )
    process = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "waiting\n"
    children = children_of(process.pid)
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "interrupted\n"
    assert process.wait(60) == 0
    eventually(lambda: not [pid for pid in children if pathlib.Path(f"/proc/{pid}").exists()])


def test_nothing_is_left_when_the_driver_is_killed(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import shoal, time\n"
        "shoal.init(num_cpus=2)\n"
        "@shoal.remote\n"
        "def sleep():\n"
        "    time.sleep(600)\n"
        "f = shoal.remote(lambda: None)\n"
        "shoal.get(f.remote())\n"
        "ref = sleep.remote()\n"
        "print('ready', flush=True)\n"
        "time.sleep(600)\n"
    )
    process = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    children = children_of(process.pid)
    assert children
    process.kill()
    process.wait()
    eventually(lambda: not [pid for pid in children if pathlib.Path(f"/proc/{pid}").exists()], 30)


def test_a_program_that_closes_every_descriptor_ends_quietly(run_script):
    done = run_script(
        """
        import os, shoal
        from support import children_of
        shoal.init(num_cpus=1)
        print("pids", *children_of(os.getpid()))
        os.closerange(3, 4096)
        """,
        env=_with_tests_path(),
    )
    assert not done.stderr
    pids = re.search(r"pids (.*)", done.stdout).group(1).split()
    assert not [pid for pid in pids if pathlib.Path(f"/proc/{pid}").exists()]


def test_a_forked_child_does_not_disturb_its_parent(run_script):
    run_script(
        """
        import multiprocessing, os, shoal
        shoal.init(num_cpus=1)
        f = shoal.remote(lambda: 1)
        refs = [f.remote() for _ in range(10)]
        context = multiprocessing.get_context("fork")

        def child():
            assert not shoal.is_initialized()
            del refs[:]

        process = context.Process(target=child)
        process.start()
        process.join()
        assert process.exitcode == 0
        assert shoal.get(refs) == [1] * 10
        """
    )


def test_output_of_workers_comes_with_their_names(run_script):
    done = run_script(
        """
        import os, sys, shoal
        shoal.init(num_cpus=1)

        @shoal.remote
        def speak():
            print("one")
            print("two", "three", sep="\\n")
            print("error", file=sys.stderr)
            os.write(1, b"raw\\n")

        @shoal.remote
        class Actor:
            def speak(self):
                print("from an actor")

        shoal.get(speak.remote())
        actor = Actor.remote()
        shoal.get(actor.speak.remote())
        """
    )
    for line in ("one", "two", "three"):
        assert re.search(rf"^\(speak pid=\d+.*\) {line}$", done.stdout, re.M), done.stdout
    assert re.search(r"^\(.*pid=\d+.*\) raw$", done.stdout, re.M), done.stdout
    assert re.search(r"^\(Actor pid=\d+.*\) from an actor$", done.stdout, re.M), done.stdout
    assert re.search(r"^\(speak pid=\d+.*\) error$", done.stderr, re.M), done.stderr


def test_output_of_workers_may_be_switched_off(run_script):
    done = run_script(
        """
        import shoal
        shoal.init(num_cpus=1, log_to_driver=False)
        shoal.get(shoal.remote(lambda: print("hidden")).remote())
        print("shown")
        """
    )
    assert done.stdout == "shown\n"


def test_the_environment_of_a_job(run_script):
    run_script(
        """
        import os, shoal
        shoal.init(num_cpus=1, runtime_env={"env_vars": {"JOB_WIDE": "yes"}})

        @shoal.remote
        def read():
            return os.environ["JOB_WIDE"], shoal.get_runtime_context().runtime_env

        assert shoal.get(read.remote()) == ("yes", {"env_vars": {"JOB_WIDE": "yes"}})
        """
    )


def test_gpus_and_labels(run_script):
    run_script(
        """
        import os, shoal
        shoal.init(num_cpus=2, num_gpus=2, labels={"disk": "ssd", "zone": "a b"}, resources={"slot": 1.5})
        assert shoal.cluster_resources()["GPU"] == 2
        assert shoal.cluster_resources()["slot"] == 1.5
        assert shoal.nodes()[0]["Labels"] == {"disk": "ssd", "zone": "a b"}

        @shoal.remote(num_gpus=1)
        class Trainer:
            def gpus(self):
                return shoal.get_gpu_ids(), os.environ["CUDA_VISIBLE_DEVICES"]

        trainers = [Trainer.remote() for _ in range(2)]
        found = shoal.get([trainer.gpus.remote() for trainer in trainers], timeout=60)
        assert sorted(found) == [([0], "0"), ([1], "1")], found

        @shoal.remote(num_cpus=1)
        def visible():
            return os.environ.get("CUDA_VISIBLE_DEVICES"), shoal.get_gpu_ids()

        print(shoal.get(visible.remote(), timeout=60))
        assert shoal.get(visible.options(label_selector={"disk": "ssd"}).remote(), timeout=60)[1] == []
        elsewhere = visible.options(label_selector={"disk": "!ssd"}).remote()
        assert shoal.wait([elsewhere], timeout=0.1) == ([], [elsewhere])
        """
    )


def test_import_as_ray(run_script):
    run_script(
        """
        import shoal as ray
        ray.init(num_cpus=2, include_dashboard=False)

        @ray.remote
        def f(x):
            raise ValueError(x)

        try:
            ray.get(f.remote(1))
        except ray.exceptions.RayTaskError as error:
            assert isinstance(error, ValueError)
        ray.shutdown()
        """
    )


@pytest.mark.slow
def test_start_and_stop_many_times(run_script):
    run_script(
        """
        import time, shoal
        for _ in range(10):
            shoal.init(num_cpus=1)
            assert shoal.get(shoal.remote(lambda: 1).remote()) == 1
            shoal.shutdown()
        """
    )


def test_a_low_soft_limit_of_open_files_does_not_cost_the_connection(run_script):
    run_script(
        """
        import resource, shoal
        resource.setrlimit(resource.RLIMIT_NOFILE, (40, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        shoal.init(num_cpus=1)

        @shoal.remote(num_cpus=0)
        class Echo:
            def echo(self, x):
                return x

        actors = [Echo.remote() for _ in range(20)]  # two descriptors each
        assert shoal.get([actor.echo.remote(i) for i, actor in enumerate(actors)], timeout=60) == list(range(20))
        """
    )


def test_tasks_that_nobody_waits_for_do_not_hold_up_the_end(run_script):
    run_script(
        """
        import time, shoal
        shoal.init(num_cpus=1)
        refs = [shoal.remote(lambda: time.sleep(600)).remote() for _ in range(3)]
        """
    )
