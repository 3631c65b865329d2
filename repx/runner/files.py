"""Small files and programs, as bytes, with few system calls: a worker does this for each job."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

HOST: Final = re.sub(r"[^A-Za-z0-9._-]", "", os.uname().nodename)

GRACE_S: Final = 10.0
_MOST_DIGITS: Final = 6
MOST: Final = 1 << 28  # bytes of a job file; what is larger was not written by repx
# Temporary shortages of processes, memory or descriptors: the end of a process can relieve them.
PASSING: Final = (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE)


def grace_s() -> float:
    """Return the seconds that a process has between TERM and KILL."""
    given = os.environ.get("REPX_GRACE_S", "")
    fits = given.isdecimal() and given.isascii() and len(given) <= _MOST_DIGITS
    return float(given) if fits else GRACE_S


def read(path: str | bytes, most: int = MOST) -> bytes:
    """Return a file's content. Raises OSError, also for what is no file or has no end."""
    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a FIFO would block
    try:
        info = os.fstat(file)
        if not stat.S_ISREG(info.st_mode):
            raise OSError(errno.EINVAL, "not a file", os.fsdecode(path))
        if info.st_size > most:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), os.fsdecode(path))
        with open(file, "rb", buffering=0, closefd=False) as stream:
            return stream.read()
    finally:
        os.close(file)


def write(path: bytes, text: bytes) -> None:
    """Write a new file in one call. Raises OSError, also if the disk has no room for all of it."""
    _put(path, text, os.O_EXCL)


def append(path: bytes, text: bytes) -> None:
    """Append to a file in one call. Raises OSError, also if the disk has no room for all of it."""
    _put(path, text, os.O_APPEND)


def _put(path: bytes, text: bytes, flag: int) -> None:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | flag, 0o666)
    try:
        if os.write(file, text) != len(text):
            raise OSError
    finally:
        os.close(file)


def refuse_links(*folders: bytes) -> None:
    """Raise OSError if a folder of the store is a link, which could lead anywhere."""
    for folder in folders:
        if os.path.islink(folder):
            why = "a link stands where a folder of the store belongs"
            raise OSError(errno.ELOOP, why, os.fsdecode(folder))


class LostError(OSError):
    """The disk did not take what was written. The kernel says so only once (fsync(2))."""


def flush(path: bytes) -> None:
    """Flush a file, or a folder with all that is below it, to the disk. Raises LostError."""
    for folder, _, names in os.walk(path, onerror=_flush_all) if os.path.isdir(path) else ():
        for name in names:
            flush_one(os.path.join(folder, name))
        flush_one(folder)
    flush_one(path)


def _flush_all(_error: OSError) -> None:
    os.sync()


def flush_one(path: bytes) -> None:
    """Flush one file, or the names in one folder. Raises LostError."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except PermissionError as error:  # a program may write files that even it may not read
        _flush_all(error)
        return
    except OSError:
        return  # a socket or a broken link has no data to lose
    try:
        os.fsync(file)
    except OSError as error:
        has_data = stat.S_ISREG(os.fstat(file).st_mode) or error.errno != errno.EROFS
        if has_data and error.errno != errno.EINVAL:  # of pipes, and folders of some file systems
            raise LostError(*error.args, os.fsdecode(path)) from error
    finally:
        os.close(file)


def starts_with(path: bytes, text: bytes) -> bool:
    """Tell whether a file can be read and begins with ``text``."""
    try:
        with open(path, "rb", buffering=0) as stream:
            return stream.read(len(text)) == text
    except OSError:
        return False


def find(program: bytes, search: bytes) -> bytes | None:
    """Return the path of a program as a shell with this PATH finds it, None if there is none."""
    if b"/" in program:
        return program
    for folder in search.split(b":"):
        path = (folder or b".") + b"/" + program
        if os.access(path, os.X_OK) and not os.path.isdir(path):
            return path
    return None


def size(path: str) -> int:
    """Return a file's size in bytes, 0 for a missing file."""
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def restore_locale() -> None:
    """Remove the LC_CTYPE that Python sets for itself (PEP 538): jobs must not see it."""
    with contextlib.suppress(OSError), open("/proc/self/environ", "rb") as stream:
        if b"\0LC_CTYPE=" not in b"\0" + stream.read():
            os.environb.pop(b"LC_CTYPE", None)
