"""Locks of files: who holds one is alive. All are flock(2)."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW  # a link could lead anywhere
DESCRIPTOR: Final = 9  # where a job's processes find the lock that they hold
LOOKERS_WAITS_S: Final = (0.05, 0.1, 0.2)  # for those that ask whether a lock is held


def take(path: str) -> int | None:
    """Return a descriptor that holds a lock alone, or None while another process has it.

    Raises OSError when the file cannot be opened.
    """
    lock = os.open(path, FLAGS | os.O_CLOEXEC, 0o666)
    try:
        patiently(lock)
    except BlockingIOError:
        os.close(lock)
        return None
    except OSError:
        pass  # the file system has no locks
    return lock


def patiently(lock: int) -> None:
    """Lock a file, though others may hold it for a moment to see whether somebody does.

    Raises BlockingIOError when it stays locked; OSError when the file system has no locks.
    """
    for wait_s in LOOKERS_WAITS_S:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        time.sleep(wait_s)
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def held(path: str) -> bool:
    """Tell whether another process holds the lock at ``path`` alone."""
    try:
        lock = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    else:
        return False
    finally:
        os.close(lock)


def sign(lock: int, host: str, pid: int) -> None:
    """Write into a lock, for people, which process on which host has it."""
    with contextlib.suppress(OSError):
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{host} {pid}\n".encode(), 0)


def signature(path: str) -> str:
    """Return the host and process that a lock names, or nothing."""
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read(200).strip()
    except OSError:
        return ""
