"""Output of workers: marked with the name of what printed it there, printed with a prefix here.

A raylet reads its workers' output as lines of a process; it does not see which task runs. So a worker's stdout and
stderr begin each line with the name of the running task between two marks, and the driver moves the name into the
prefix: "(square pid=17, node=ab12) hello". What a library writes past Python comes without a name.
"""

from __future__ import annotations

import contextlib
import io
import sys
from typing import TextIO

from shoal import _shoal

_MARK = "\x1e"


class NamedLines(io.TextIOBase):
    """A worker's stdout or stderr. Costs nothing until something is printed."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._at_start = True

    def write(self, text: str) -> int:
        """Passes the text on, with a mark in front of each line."""
        if not isinstance(text, str):
            raise TypeError(f"write() takes a str, not {type(text).__name__}")
        mark = _mark()
        out = text
        if mark and text:
            out = text[:-1].replace("\n", "\n" + mark) + text[-1]
            if self._at_start:
                out = mark + out
        if text:
            self._at_start = text.endswith("\n")
        self._stream.write(out)
        return len(text)

    def flush(self) -> None:
        """As the stream below."""
        self._stream.flush()

    def fileno(self) -> int:
        """As the stream below."""
        return self._stream.fileno()

    def isatty(self) -> bool:
        """Never a terminal."""
        return False

    def writable(self) -> bool:
        """Always."""
        return True

    @property
    def buffer(self) -> object:
        """For those who write bytes; they come without a name."""
        return self._stream.buffer

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """As the stream below."""
        return self._stream.encoding

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        """As the stream below."""
        return self._stream.errors


def _mark() -> str:
    name = str(_shoal.running_task()["name"])
    if not name:
        return ""
    # An actor is known by its class.
    if _shoal.running_task()["actor_id"]:
        name = name.rsplit(".", 1)[0]
    return f"{_MARK}{name}{_MARK}"


def print_lines(prefix: str, is_stderr: bool, lines: list[str]) -> None:
    """Called in the driver with lines that workers printed."""
    stream = sys.stderr if is_stderr else sys.stdout
    text = "".join(f"{_with_name(prefix, line)}\n" for line in lines)
    with contextlib.suppress(OSError, ValueError):  # a closed stdout is no reason to fail
        stream.write(text)
        stream.flush()


def _with_name(prefix: str, line: str) -> str:
    if line.startswith(_MARK):
        name, found, rest = line[1:].partition(_MARK)
        if found:
            inner = prefix.strip("()")
            words = inner.split(" ", 1)
            tail = inner if words[0].startswith("pid=") else words[-1]
            return f"({name} {tail}) {rest}"
    return f"{prefix} {line}" if prefix else line
