"""Big files whose sending broke off: what has arrived is kept for a day, and continued.

Standard library only: it also runs at a place alone. What is kept has the sum of the whole file in
its name; the sum decides in the end whether the file is right.
"""

import contextlib
import errno
import os
import stat
from typing import TYPE_CHECKING

from repx.places.walk import INCOMING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from repx.places.tree import Tree

LEAST_BYTES = 8 << 20  # less is sent again
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_AGAIN = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def sizes(tree: "Tree", wanted: "Mapping[str, tuple[int, int, str]]") -> "dict[str, int]":
    """Return how many bytes are kept of files that will have this mode, size and sum, by key."""
    found = {}
    for key, (mode, size, sha256) in wanted.items():
        with contextlib.suppress(OSError):
            there = os.lstat(tree.path(f"{INCOMING}/{name(mode, sha256)}"))
            if _is_ours(there) and there.st_size < size:
                found[key] = there.st_size
    return found


def name(mode: int, sha256: str) -> str:
    """Return the name under which the beginning of a file is kept."""
    return f".{sha256}{'x' if mode & 0o100 else ''}.part"


def opened(folder: int, temporary: str, mode: int, sha256: str, start: int) -> int:
    """Return a descriptor of a new file, or of the kept one, which nobody else then continues."""
    if not start:
        return os.open(temporary, _NEW, mode, dir_fd=folder)
    try:
        os.rename(name(mode, sha256), temporary, src_dir_fd=folder, dst_dir_fd=folder)
        descriptor = os.open(temporary, _AGAIN, dir_fd=folder)
    except OSError as error:
        raise _gone() from error
    there = os.fstat(descriptor)
    if not _is_ours(there) or there.st_size != start:
        os.close(descriptor)
        os.unlink(temporary, dir_fd=folder)
        raise _gone()
    return descriptor


def leave(folder: int, temporary: str, kept: str, error: BaseException) -> None:
    """Remove a file that is not whole, or keep it as ``kept`` where the sender has gone."""
    there = os.lstat(temporary, dir_fd=folder)
    gone = isinstance(error, (EOFError, ConnectionAbortedError))
    if kept and gone and there.st_size >= LEAST_BYTES:
        os.rename(temporary, kept, src_dir_fd=folder, dst_dir_fd=folder)
    else:
        os.unlink(temporary, dir_fd=folder)


def prefix(descriptor: int, digest: "Any", size: int) -> None:  # noqa: ANN401  # of hashlib
    """Add the first bytes of an open file to a digest; what is written next follows them."""
    while size > 0:
        chunk = os.read(descriptor, min(size, LEAST_BYTES))
        if not chunk:
            raise _gone()
        digest.update(chunk)
        size -= len(chunk)


def _is_ours(there: os.stat_result) -> bool:
    return stat.S_ISREG(there.st_mode) and there.st_uid == os.geteuid() and there.st_nlink == 1


def _gone() -> OSError:
    return OSError(errno.ESTALE, "its beginning is gone since it was looked at; try again")
