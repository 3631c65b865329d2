"""Read and write small files of this machine as a whole: anything may lie in their place."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

_LARGEST: Final = 1 << 30  # bytes; what is larger was not written by repx


def read(path: Path) -> bytes:
    """Return a file's content. Raises OSError, also for what is no file (a FIFO would block)."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "not a file", os.fspath(path))
        if found.st_size > _LARGEST:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), os.fspath(path))
        with open(descriptor, "rb", closefd=False) as stream:
            return stream.read()
    finally:
        os.close(descriptor)


def write(place: Path, content: str | bytes) -> None:
    """Replace a file, or a link in its place; readers see the old content or the new one.

    The folder may be somebody else's, so nobody can foresee the temporary name. Raises OSError.
    """
    data = content.encode() if isinstance(content, str) else content
    part = place.with_name(f".{os.urandom(12).hex()}.part")
    descriptor = os.open(part, _NEW, 0o666)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        part.replace(place)
    except BaseException:  # Ctrl-C too
        part.unlink(missing_ok=True)
        raise
