"""Small files and programs, as bytes: what a worker does for each job, as few calls as possible."""

from __future__ import annotations

import contextlib
import errno
import os
import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

HOST: Final = re.sub(r"[^A-Za-z0-9._-]", "", os.uname().nodename)

GRACE_S: Final = 10.0
# What may be better as soon as something has ended: processes, memory, descriptors.
PASSING: Final = (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE)


def grace_s() -> float:
    """Return how many seconds a process has between TERM and KILL."""
    given = os.environ.get("REPX_GRACE_S", "")
    return float(given) if given.isdecimal() and given.isascii() else GRACE_S


def write(path: bytes, text: bytes) -> None:
    """Write a file at once. Raises OSError, also when not all of it fits."""
    _put(path, text, os.O_TRUNC)


def append(path: bytes, text: bytes) -> None:
    """Add to a file at once. Raises OSError, also when not all of it fits."""
    _put(path, text, os.O_APPEND)


def _put(path: bytes, text: bytes, flag: int) -> None:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | flag, 0o666)
    try:
        if os.write(file, text) != len(text):
            raise OSError
    finally:
        os.close(file)


def refuse_links(*folders: bytes) -> None:
    """Raise OSError where a link stands for a folder of the store: it could lead anywhere."""
    for folder in folders:
        if os.path.islink(folder):
            why = "a link stands where a folder of the store belongs"
            raise OSError(errno.ELOOP, why, os.fsdecode(folder))


def flush(path: bytes) -> None:
    """Bring a file, or all that a folder holds, to the disk. Raises OSError."""
    for folder, _, names in os.walk(path) if os.path.isdir(path) else ():
        for name in names:
            _flush(os.path.join(folder, name))
    _flush(path)


def _flush(path: bytes) -> None:
    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return  # a socket, or a link to nowhere: nothing of it can be lost
    try:
        os.fsync(file)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EROFS):  # what is no file has nothing to flush
            raise
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
    """Return the path of a program as a shell with this PATH would, None without the program."""
    if b"/" in program:
        return program
    for folder in search.split(b":"):
        path = (folder or b".") + b"/" + program
        if os.access(path, os.X_OK) and not os.path.isdir(path):
            return path
    return None


def size(path: str) -> int:
    """Return a file's size in bytes, 0 without the file."""
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def restore_locale() -> None:
    """Take back the LC_CTYPE that Python sets for itself (PEP 538): jobs must not see it."""
    with contextlib.suppress(OSError), open("/proc/self/environ", "rb") as stream:
        if b"\0LC_CTYPE=" not in b"\0" + stream.read():
            os.environb.pop(b"LC_CTYPE", None)
