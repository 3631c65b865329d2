"""File locks, all with flock(2): the holder of a lock is alive."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW  # a link could lead anywhere
DESCRIPTOR: Final = 9  # the lock's descriptor in a job's processes
LOOKERS_WAITS_S: Final = (0.05, 0.1, 0.2)  # for processes that only test the lock


def take(path: str) -> int | None:
    """Return a descriptor that holds an exclusive lock, or None while another process has it.

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
    """Lock a file; retry for a moment, since other processes may only be testing the lock.

    Raises BlockingIOError when the file stays locked, OSError when the file system has no locks.
    """
    for wait_s in LOOKERS_WAITS_S:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        time.sleep(wait_s)
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def held(path: str) -> bool:
    """Tell whether another process holds the exclusive lock at ``path``."""
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
    """Write the host and process that hold a lock into its file, for people."""
    with contextlib.suppress(OSError):
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{host} {pid}\n".encode(), 0)


def signature(path: str) -> str:
    """Return the host and process that a lock's file names, or an empty text."""
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read(200).strip()
    except OSError:
        return ""
