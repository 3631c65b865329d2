"""Regular files, opened so that nothing blocks. Standard library only: it also runs at a place."""

import errno
import fcntl
import os
import stat

_LOCK = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
READ = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC  # a pipe in the way must not block


def opened(path: str) -> int:
    """Open a regular file for reading."""
    descriptor = os.open(path, READ)
    try:
        only_regular(descriptor)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def only_regular(descriptor: int) -> None:
    """Raise OSError for what is no regular file."""
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise OSError(errno.EINVAL, "not a regular file")


def is_locked(path: str) -> bool:
    """Tell whether a process holds a lock file; False where there are no locks."""
    try:
        descriptor = opened(path)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    else:
        return False
    finally:
        os.close(descriptor)


def lock(name: str, folder: int, mode: int) -> "int | None":
    """Return a descriptor that holds the lock file of this name; None where a process has it.

    The file is made if need be. On a file system without locks nobody else has it.
    """
    descriptor = os.open(name, _LOCK, mode, dir_fd=folder)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError:
        pass
    return descriptor
