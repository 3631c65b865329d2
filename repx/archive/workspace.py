"""Folders for packs on their way: what a killed process has fetched is there for the next one."""

from __future__ import annotations

import fcntl
import os
import tempfile
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from repx.config import xdg

if TYPE_CHECKING:
    from collections.abc import Iterator

_MOST: Final = 64  # processes at once


@contextmanager
def opened(*, keep: bool) -> Iterator[Path]:
    """Yield a folder that no other process uses; with ``keep``, its files stay after an error.

    The folder is in the user's cache, or a temporary one if the cache cannot be written.
    """
    with ExitStack() as stack:
        folder = _own(stack)
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="repx-")))
        try:
            yield folder
        except BaseException:  # Ctrl-C too
            if not keep:
                _clear(folder)
            raise
        _clear(folder)


def _own(stack: ExitStack) -> Path | None:
    """Return the first free folder in the cache, locked until the stack ends."""
    env = os.environ  # a notebook has no command line to read it
    cache = xdg.cache(env)
    for number in range(_MOST if cache else 0):
        folder = Path(f"{cache}/packs/{number}")
        with suppress(OSError):  # in use, or without permission
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = os.open(f"{folder}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            stack.callback(os.close, lock)
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.access(folder, os.W_OK):
                return folder
    return None


def _clear(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()
