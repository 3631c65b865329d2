"""Files of an archive on their way from and to this machine, many at a time, with progress."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from repx import progress
from repx.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from repx.archive.location import Opened

_BLOCK: Final = 8 << 20


def names(there: Opened, folder: str) -> set[str]:
    """Return the names of the files in a folder; none if there is no such folder."""
    try:
        paths = there.fs.ls(there.path(folder), detail=False)
    except FileNotFoundError:
        return set()
    return {_name(path) for path in paths}


def has_folder(there: Opened, folder: str) -> bool:
    """Return whether a folder of the archive exists."""
    return bool(there.fs.exists(there.path(folder)))


def sizes(there: Opened, folder: str) -> dict[str, int]:
    """Return the size in bytes of each file in a folder, by its name."""
    found = there.fs.find(there.path(folder), detail=True)
    return {_name(path): each["size"] for path, each in found.items()}


def put(there: Opened, paths: Mapping[Path, str], total: int, doing: str) -> None:
    """Copy local files to paths of the archive."""
    if paths:
        with _counting(doing, total) as callback:
            there.fs.put(list(map(str, paths)), list(paths.values()), callback=callback)


def get(there: Opened, paths: Mapping[str, tuple[Path, int]], doing: str) -> None:
    """Copy files of the archive to local paths, each with its size; continue those begun there.

    Files that are absent from the archive, or that the user may not read, are left out.
    """
    left = {path: size - _size(local) for path, (local, size) in paths.items()}
    fresh = [path for path, (local, _) in paths.items() if not _size(local)]
    with _counting(doing, sum(size for size in left.values() if size > 0)) as callback:
        for path, (local, size) in paths.items():
            if 0 < _size(local) < size:
                with _passing_over():
                    _continue(there.fs, path, local, callback)
        if not fresh:
            return
        with _passing_over():
            there.fs.get(fresh, [str(paths[path][0]) for path in fresh], callback=callback)
            return
        for path in fresh:  # one of them cannot be read: fetch the others
            if _size(paths[path][0]) < paths[path][1]:
                with _passing_over():
                    there.fs.get([path], [str(paths[path][0])], callback=callback)


@contextmanager
def _passing_over() -> Iterator[None]:
    """Go on after an error that means a single file; raise others, e.g. of a lost connection."""
    try:
        yield
    except (FileNotFoundError, PermissionError):
        pass
    except StorageError as error:  # of a store, in place of an OSError
        if not isinstance(error.__cause__, OSError):
            raise


def _continue(fs: Any, path: str, local: Path, callback: Any) -> None:  # noqa: ANN401  # fsspec
    with local.open("ab") as file, fs.open(path, "rb", block_size=_BLOCK) as source:
        source.seek(file.tell())
        while chunk := source.read(_BLOCK):
            file.write(chunk)
            callback.add(len(chunk))


def _size(local: Path) -> int:
    return local.stat().st_size if local.exists() else 0


def _name(path: str) -> str:
    return path.rpartition("/")[2]


@contextmanager
def _counting(doing: str, total: int) -> Iterator[Any]:
    """Yield a callback of fsspec that shows the bytes of all files together."""
    from fsspec.callbacks import Callback

    class Counting(Callback):  # type: ignore[misc]  # fsspec has no types
        """Counts the bytes of files, which have a callback each, and ignores the files."""

        def __init__(self, *, counts: bool) -> None:
            super().__init__()
            self._counts = counts

        def branched(self, *_: Any, **__: Any) -> Counting:  # noqa: ANN401
            return Counting(counts=True)

        def relative_update(self, inc: int = 1) -> None:
            if self._counts:
                add(inc)

        def add(self, count: int) -> None:
            add(count)

    with progress.counted(doing, total) as add:
        yield Counting(counts=False)
