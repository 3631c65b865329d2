"""The end of a file, and what is added to it while somebody writes. Standard library only."""

import os
import time
from typing import TYPE_CHECKING

from repx.places.regular import is_locked, opened

if TYPE_CHECKING:
    from collections.abc import Callable

_ENDING_FIRST = 1 << 16
_ENDING_MOST = 64 << 20
_SHORTEST_S, _LONGEST_S, _LONGER = 0.02, 0.25, 1.5
_MARKS = ("SUCCESS", "FAIL")


class Writer:
    """Who writes a file: it holds ``lock`` while it works, and is the process ``pid``, if known."""

    def __init__(self, lock: str, pid: int) -> None:
        """Take the path of the lock file, and the process or 0."""
        self._lock = lock
        self._pid = pid

    def has_ended(self) -> bool:
        """Tell whether it has been at work and is not any more.

        Of an unknown process that can be seen once it has left its lock or a marker beside it.
        """
        if is_locked(self._lock):
            return False
        if self._pid:
            return not _lives(self._pid)
        beside = os.path.dirname(self._lock)
        signs = (self._lock, *(os.path.join(beside, mark) for mark in _MARKS))
        return any(os.path.lexists(sign) for sign in signs)


class Wait:
    """How long to wait for news, and how: ``rest`` sleeps, and returns True to be heard at once."""

    def __init__(self, limit_s: float, rest: "Callable[[float], object]") -> None:
        """Wait so long at most."""
        self.limit_s = limit_s
        self.rest = rest


def tail(path: str, inode: int, offset: int) -> "tuple[int, int, bytes]":
    """Return the file's inode, where the rest of it begins, and the rest.

    It begins at ``offset``, or at 0 where the file is another one than ``inode`` or has become
    shorter. Inode 0: there is no file.
    """
    try:
        descriptor = opened(path)
    except OSError:
        return 0, 0, b""
    with open(descriptor, "rb") as file:
        there = os.fstat(descriptor)
        if there.st_ino != inode or there.st_size < offset:
            offset = 0
        file.seek(offset)
        return there.st_ino, offset, file.read()


def ending(path: str, lines: int) -> "tuple[int, int, bytes]":
    """Return the file's inode, its size and its last lines, never more than 64 MiB of them.

    Inode 0: there is no file.
    """
    try:
        descriptor = opened(path)
    except OSError:
        return 0, 0, b""
    with open(descriptor, "rb") as file:
        there = os.fstat(descriptor)
        size, found = _ENDING_FIRST, []
        while True:
            file.seek(max(0, there.st_size - size))
            found = file.read().splitlines(keepends=True)
            if len(found) > lines or size >= min(there.st_size, _ENDING_MOST):
                break
            size *= 4
    return there.st_ino, there.st_size, b"".join(found[-lines:]) if lines > 0 else b""


def grown(
    path: str, at: "tuple[int, int]", writer: Writer, wait: Wait
) -> "tuple[bool, int, int, bytes]":
    """Return whether the writer has ended, then what ``tail`` returns; wait for either.

    ``at`` is the inode and the position up to which the file has been read.
    """
    end = time.monotonic() + wait.limit_s
    pause = _SHORTEST_S
    while True:
        over = writer.has_ended()  # asked first: what comes before the end is still read
        inode, start, content = tail(path, *at)
        if over or content or inode != at[0] or time.monotonic() >= end or wait.rest(pause):
            return over, inode, start, content
        pause = min(pause * _LONGER, _LONGEST_S)


def _lives(pid: int) -> bool:
    """Tell whether a process of ours is there and has not ended."""
    try:
        os.kill(pid, 0)
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    except (ProcessLookupError, PermissionError):
        return False
    except OSError:
        return not os.path.isdir("/proc/self")
