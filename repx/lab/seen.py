"""The files that a definition was read from: their checksums, and stamps that show changes."""

from __future__ import annotations

import os
import time
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

Stamp: TypeAlias = tuple[int, ...]  # size, modification and change time (ns), inode

# A file can change twice within one tick of its time stamp; no kernel has a longer tick.
_TICK_NS: Final = 50_000_000


class Seen(NamedTuple):
    """One file when it was read; a ``stamp`` of None means that the stamp is not reliable.

    A named tuple, as in ``record`` and ``age``: every command pays for creating this class.
    """

    stamp: Stamp | None
    sha256: str
    executable: bool


class Looks:
    """Every file that was checked, by its path below ``folder``. Mutable: each check is added.

    A file is hashed only if its stamp differs from its earlier one in ``known``.
    """

    def __init__(
        self,
        folder: Path,
        known: Mapping[str, Seen] = MappingProxyType({}),
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """Start without files; ``folder`` is a real path."""
        self.folder = folder
        self.files: dict[str, Seen] = {}
        self._known = known
        self._now_ns = now_ns

    def at(self, path: str | Path) -> Seen:
        """Look at a file. Raises OSError."""
        key = self._key(os.fspath(path))
        if key in self.files:
            return self.files[key]
        here = self.folder / key
        info = here.stat()
        stamp = (info.st_size, info.st_mtime_ns, info.st_ctime_ns, info.st_ino)
        before = self._known.get(key)
        if before is not None and before.stamp == stamp:
            found = Seen(stamp, before.sha256, os.access(here, os.X_OK))
        else:
            fresh = abs(self._now_ns() - max(info.st_mtime_ns, info.st_ctime_ns)) < _TICK_NS
            found = Seen(None if fresh else stamp, _sha256(here), os.access(here, os.X_OK))
        self.files[key] = found
        return found

    def _key(self, path: str) -> str:
        inside = f"{self.folder}/"
        return path.removeprefix(inside) if path.startswith(inside) else path


def same(one: Seen, other: Seen) -> bool:
    """Return whether a file's content and its execute permission are unchanged."""
    return one.sha256 == other.sha256 and one.executable == other.executable


def _sha256(path: Path) -> str:
    import hashlib  # unchanged files need no sums

    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
