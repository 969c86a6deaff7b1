"""The zygote forks workers that are nobody's children but their adopter's, and ends with its socket."""

import ctypes
import json
import os
import socket
import subprocess
import sys

import pytest

from support import eventually

_PR_SET_CHILD_SUBREAPER = 36


@pytest.fixture
def zygote():
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    script = f"exec 3<&{theirs.fileno()} && exec {sys.executable} -m shoal._internal.zygote"
    process = subprocess.Popen(["/bin/bash", "-c", script], pass_fds=(theirs.fileno(),))
    theirs.close()
    ours.settimeout(60)
    yield process, ours
    ours.close()
    assert process.wait(timeout=60) == 0


def ask(connection, request, descriptors):
    socket.send_fds(connection, [json.dumps(request).encode()], descriptors)
    return json.loads(connection.recv(65536))


def request(**other):
    return {"worker": "00000000000000a1", "job": "00000000000000b2", "socket": "/nonexistent", "env": {}, **other}


def test_a_worker_is_adopted_and_writes_where_it_was_told(zygote):
    process, connection = zygote
    assert ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    out_read, out_write = os.pipe()
    err_read, err_write = os.pipe()
    try:
        answer = ask(connection, request(), [out_write, err_write])
        os.close(out_write)
        os.close(err_write)
        assert answer["worker"] == "00000000000000a1"
        assert answer["pid"] != process.pid
        with os.fdopen(err_read, "rb") as errors:
            text = errors.read().decode()  # ends with the worker, which finds no raylet
        assert "nonexistent" in text or "raylet" in text, text
        # It is our child: the zygote's own children are all reaped.
        pid, status = os.waitpid(answer["pid"], 0)
        assert pid == answer["pid"]
        assert os.waitstatus_to_exitcode(status) in (0, 1)
        with open(f"/proc/{process.pid}/task/{process.pid}/children") as children:
            assert children.read() == ""
    finally:
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
        os.close(out_read)


def test_what_the_driver_has_imported_is_imported_before_the_fork(zygote):
    process, connection = zygote

    def maps():
        with open(f"/proc/{process.pid}/maps") as file:
            return file.read()

    with open(os.devnull, "w") as null:
        ask(connection, request(), [null.fileno(), null.fileno()])
        assert "_multiarray_umath" not in maps() and "_asyncio" not in maps()
        wanted = request(env={"SHOAL_PREIMPORT": "numpy,no_such_module,sqlite3"})
        assert "pid" in ask(connection, wanted, [null.fileno(), null.fileno()])
    assert "_multiarray_umath" in maps()
    assert "_sqlite3" not in maps()  # not one of those that it imports


def test_the_zygote_has_one_thread(zygote):
    process, connection = zygote
    answer = ask(connection, request(), [])  # answered once the imports are done
    assert "two descriptors" in answer["error"]
    assert len(os.listdir(f"/proc/{process.pid}/task")) == 1


def test_a_malformed_request_is_answered(zygote):
    _, connection = zygote
    connection.send(b"not json")
    assert "error" in json.loads(connection.recv(65536))
    assert "two descriptors" in ask(connection, request(), [])["error"]


def test_the_zygote_ends_when_the_raylet_does(zygote):
    process, connection = zygote
    connection.close()
    eventually(lambda: process.poll() is not None)
