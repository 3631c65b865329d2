"""A store as a file system of fsspec: ``fsspec.open("repx://cluster/outputs/...")``.

Paths are keys below the store's folder, on this machine or on another one. Operations on many files
(``cat``, ``pipe``, ``get``, ``put``, ``find``, ``rm``) take one round trip; a file is written
completely or not at all. Folders are made with their files.
"""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar, Final, Self, cast

from fsspec import AbstractFileSystem
from fsspec.spec import AbstractBufferedFile

from repx import store as stores

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from repx.places import Outgoing
    from repx.store import Store

_PLAIN: Final = 0o644
_KINDS: Final = {"dir": "directory"}
_CHUNK: Final = 1 << 20


class StoreFileSystem(AbstractFileSystem):  # type: ignore[misc]  # fsspec has no types
    """The files of one store. ``target`` is a name in targets.yaml."""

    protocol: ClassVar[str] = "repx"
    cachable = False

    def __init__(self, target: str | None = None, store: Store | None = None, **more: Any) -> None:
        """Take a store, or find a target's store as the command line does."""
        super().__init__(**more)
        self.store = store or _store_of(target)

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        if isinstance(path, list):
            return [cls._strip_protocol(each) for each in path]
        path = os.fspath(path)
        if path.startswith("repx://"):
            path = path.removeprefix("repx://").partition("/")[2]
        return path.strip("/")

    @staticmethod
    def _get_kwargs_from_urls(path: str) -> dict[str, str]:
        name = path.removeprefix("repx://").partition("/")[0]
        return {"target": name} if path.startswith("repx://") and name else {}

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """Return name, size and type of a path. Raises FileNotFoundError."""
        (found,) = self._infos([self._strip_protocol(path)])
        return found

    def sizes(self, paths: list[str]) -> list[int]:
        """Return the sizes of files. Raises FileNotFoundError."""
        return [found["size"] for found in self._infos(self._strip_protocol(paths))]

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        """Return the content of a folder. Raises FileNotFoundError if there is no such folder."""
        key = self._strip_protocol(path)
        names = self.store.names(key)
        keys = [f"{key}/{name}".lstrip("/") for name in names]
        if not keys:
            found = [each for each in self._infos([key]) if each["type"] == "file"]
            return found if detail else [each["name"] for each in found]
        return self._infos(keys) if detail else keys

    def find(
        self, path: str, maxdepth: int | None = None, withdirs: bool = False, **more: Any
    ) -> Any:
        """Return the files below a folder, sorted."""
        if maxdepth is not None or withdirs:
            return super().find(path, maxdepth=maxdepth, withdirs=withdirs, **more)
        key = self._strip_protocol(path)
        sizes = self.store.sizes(key)
        if not more.get("detail"):
            return sorted(sizes)
        return {name: _entry(name, "file", sizes[name]) for name in sorted(sizes)}

    def cat_file(
        self, path: str, start: int | None = None, end: int | None = None, **_: Any
    ) -> bytes:
        """Return a file's content, or a part of it. Raises FileNotFoundError."""
        key = self._strip_protocol(path)
        if start is None and end is None:
            return self._contents([key])[key]
        size = self.info(key)["size"]
        first, last, _step = slice(start, end).indices(size)
        return self.store.part(key, first, max(0, last - first))

    def cat(self, path: Any, recursive: bool = False, on_error: str = "raise", **_: Any) -> Any:
        """Return contents: of one path, or by path of many."""
        keys = self.expand_path(path, recursive=recursive) if recursive else _listed(path)
        keys = self._strip_protocol(keys)
        if isinstance(path, str) and not recursive and not set("*?[") & set(path):
            return self._contents(keys)[keys[0]]
        return self._contents(keys, all_of_them=on_error == "raise")

    def pipe(self, path: Any, value: bytes | None = None, **_: Any) -> None:
        """Write contents by path."""
        given: Mapping[str, bytes] = {path: value or b""} if isinstance(path, str) else path
        items = ((self._strip_protocol(key), content) for key, content in given.items())
        self.store.write_many((key, _PLAIN, content, "") for key, content in items)

    def pipe_file(self, path: str, value: bytes, **_: Any) -> None:
        """Write a file, completely or not at all."""
        self.pipe({path: value})

    def put(self, lpath: Any, rpath: Any, recursive: bool = False, **more: Any) -> None:
        """Write local files; a list of files to a list of paths takes one round trip."""
        if isinstance(lpath, str) or isinstance(rpath, str):
            super().put(lpath, rpath, recursive=recursive, **more)
            return
        files = dict(zip(self._strip_protocol(rpath), lpath, strict=True))
        self.store.write_many(_opened(files, more.get("callback")))

    def put_file(self, lpath: str, rpath: str, **_: Any) -> None:
        """Write a local file."""
        if not Path(lpath).is_dir():
            self.put([lpath], [rpath])

    def get(self, rpath: Any, lpath: Any, recursive: bool = False, **more: Any) -> None:
        """Copy files here; a list of files to a list of local paths takes one round trip."""
        if isinstance(rpath, str) or isinstance(lpath, str):
            super().get(rpath, lpath, recursive=recursive, **more)
            return
        places = dict(zip(self._strip_protocol(rpath), lpath, strict=True))
        for key, _mode, file in self.store.fetch(list(places)):
            with Path(places.pop(key)).open("wb") as local:
                while chunk := file.read(_CHUNK):
                    local.write(chunk)
                    if more.get("callback"):
                        more["callback"].branched(key, local).relative_update(len(chunk))
        if places:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), next(iter(places)))

    def get_file(self, rpath: str, lpath: str, **_: Any) -> None:
        """Copy a file here, or make a folder for a folder."""
        if self.isdir(rpath):
            Path(lpath).mkdir(parents=True, exist_ok=True)
        else:
            Path(lpath).parent.mkdir(parents=True, exist_ok=True)
            self.get([rpath], [lpath])

    def rm(self, path: Any, recursive: bool = False, maxdepth: int | None = None) -> None:
        """Remove files and, with ``recursive``, folders."""
        keys = self._strip_protocol(self.expand_path(path, recursive=recursive, maxdepth=maxdepth))
        self.store.remove(*keys)

    def rm_file(self, path: str) -> None:
        """Remove a file."""
        self.store.remove(self._strip_protocol(path))

    def mkdir(self, path: str, create_parents: bool = True, **_: Any) -> None:
        """Do nothing: folders are made with their files."""

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        """Do nothing: folders are made with their files."""

    def _open(self, path: str, mode: str = "rb", block_size: Any = None, **more: Any) -> Any:
        key = self._strip_protocol(path)
        if mode == "rb":
            return _Reader(self, key, mode, block_size or _CHUNK, **more)
        if mode == "wb":
            return _Writer(self.store, key)
        raise NotImplementedError(f"mode '{mode}': files of a store are read or written whole")

    def _infos(self, keys: list[str]) -> list[dict[str, Any]]:
        kinds = self.store.kinds([key or "." for key in keys])
        return [_entry(key, *_found(kinds, key or ".")) for key in keys]

    def _contents(self, keys: list[str], *, all_of_them: bool = True) -> dict[str, bytes]:
        found = self.store.read_many(keys)
        lost = next((key for key in keys if key not in found), None)
        if all_of_them and lost is not None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), lost)
        return found


class _Reader(AbstractBufferedFile):  # type: ignore[misc]  # fsspec has no types
    """A file that is read block by block."""

    def _fetch_range(self, start: int, end: int) -> bytes:
        found: bytes = self.fs.store.part(self.path, start, end - start)
        return found


class _Writer:
    """A file that is written when closed, and not written after an error. Mutable."""

    def __init__(self, store: Store, key: str) -> None:
        self._store = store
        self._key = key
        self._file = cast("BinaryIO", tempfile.TemporaryFile())  # noqa: SIM115  # closed below

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is None:
            self.close()
        else:
            self._file.close()

    def close(self) -> None:
        """Write the content to the store."""
        if not self._file.closed:
            self._file.seek(0)
            self._store.write_many([(self._key, _PLAIN, self._file, "")])
            self._file.close()


def _opened(paths: Mapping[str, str], callback: Any) -> Iterator[Outgoing]:
    for key, path in paths.items():
        with Path(path).open("rb") as file:
            yield key, _PLAIN, file, ""
            if callback:
                callback.branched(path, key).relative_update(file.tell())


def _listed(path: Any) -> list[str]:
    return [path] if isinstance(path, str) else list(path)


def _found(kinds: Mapping[str, tuple[str, int]], key: str) -> tuple[str, int]:
    if key not in kinds:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), key)
    return kinds[key]


def _entry(key: str, kind: str, size: int) -> dict[str, Any]:
    is_folder = kind == "dir"
    return {"name": key, "size": 0 if is_folder else size, "type": _KINDS.get(kind, kind)}


def _store_of(target: str | None) -> Store:
    from repx.config import targets, xdg

    env = os.environ  # fsspec has no command line to read it
    known = targets.load(None, cwd=xdg.current_folder(), env=env)
    return stores.of(targets.choose(known, target))
