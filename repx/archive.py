"""Shared results on any file system of fsspec: packs named by content, written before entries.

packs/<job>.<sha256>.tar.gz   the files of one job, each below its folder in a store
entries/<job>.json            its marker: sum and size of the pack, user, host and time

A folder and ``ssh://`` use the same code as a target's store (``repx.filesystem``), so that no user
can change the results of another. A zip is rewritten to a temporary file and renamed.
"""

from __future__ import annotations

import fcntl
import getpass
import glob
import gzip
import hashlib
import json
import os
import platform
import shutil
import stat
import tarfile
import tempfile
import time
import zipfile
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO, Final, cast

from repx import progress
from repx import store as stores
from repx.brought import Brought, Found, marked, origin
from repx.errors import RepxError, StorageError
from repx.places import carry, tree
from repx.store import FAIL, SUCCESS, as_object
from repx.target import Target

if TYPE_CHECKING:
    from collections.abc import Collection, Generator, Iterable, Iterator, Mapping, Sequence

    from repx.model import JobId
    from repx.places import Outgoing
    from repx.store import Store

    Listed = Mapping[str, tuple[int, int]]

_ENTRIES: Final = "entries"
_PACKS: Final = "packs"
_LEFT: Final = ("lock", FAIL)
_BATCH: Final = 256 << 20  # most bytes on this machine at once, except for a larger job
_CHUNK: Final = 1 << 20


class _Opened:
    """A file system, and the folder of the archive in it."""

    def __init__(self, fs: Any, root: str) -> None:  # noqa: ANN401  # fsspec has no types
        self.fs = fs
        self._root = root.rstrip("/")

    def path(self, folder: str, name: str = "") -> str:
        return "/".join(part for part in (self._root, folder, name) if part)

    @contextmanager
    def to_read(self) -> Iterator[_Opened]:
        self.fs.invalidate_cache()
        yield self

    @contextmanager
    def to_write(self) -> Iterator[_Opened]:
        for folder in (_ENTRIES, _PACKS):
            self.fs.makedirs(self.path(folder), exist_ok=True)
        yield self


class _Zip:
    """A zip on this machine: opened for each use, and rewritten so that it is always complete."""

    def __init__(self, path: Path, root: str) -> None:
        self._path = path
        self._root = root

    @contextmanager
    def to_read(self) -> Iterator[_Opened]:
        if not self._path.exists():
            yield _Opened(_file_system("memory"), f"/{os.urandom(12).hex()}")
            return
        fs = _file_system("zip", fo=str(self._path))
        try:
            yield _Opened(fs, self._root)
        finally:
            fs.close()

    @contextmanager
    def to_write(self) -> Iterator[_Opened]:
        above = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(above, fcntl.LOCK_EX)  # one writer at a time
            for orphan in self._path.parent.glob(f".{glob.escape(self._path.name)}.*.part"):
                shutil.rmtree(orphan)
            start, end = f".{self._path.name}.", ".part"
            with tempfile.TemporaryDirectory(end, start, self._path.parent) as folder:
                content = Path(folder, "content")
                content.mkdir()
                if self._path.exists():
                    shutil.unpack_archive(self._path, content, "zip")
                yield _Opened(_file_system("file", auto_mkdir=True), str(content / self._root))
                made = Path(folder, "made")
                _zip(content, made)
                made.rename(self._path)
        finally:
            os.close(above)


def _zip(folder: Path, made: Path) -> None:
    """Write a zip of a folder, without compression: packs are already compressed."""
    with zipfile.ZipFile(made, "w") as written:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                written.write(path, path.relative_to(folder))


def _file_system(protocol: str, **options: object) -> Any:  # noqa: ANN401  # fsspec has no types
    import fsspec  # takes 0.1 s, which most commands do not need

    return fsspec.filesystem(protocol, skip_instance_cache=True, **options)


@dataclass(frozen=True, slots=True)
class Archive:
    """Entries by job id on one file system, whose errors become StorageError."""

    name: str
    opened: _Opened | _Zip

    def has(self, jobs: Collection[JobId]) -> dict[JobId, Found]:
        """Return the entries of the jobs that are complete in the archive, in two round trips."""
        wanted = {f"{job}.json": job for job in jobs}
        with self._failing("read"), self.opened.to_read() as there:
            names = {path.rpartition("/")[2] for path in _ls(there, _ENTRIES)} & wanted.keys()
            paths = {there.path(_ENTRIES, name): wanted[name] for name in sorted(names)}
            contents = there.fs.cat(list(paths), on_error="omit") if paths else {}
        told = {paths[path]: Found.of(as_object(text)) for path, text in contents.items()}
        return {job: found for job, found in told.items() if found.sha256 and found.size}

    def put(self, jobs: Sequence[JobId], store: Store) -> int:
        """Add the results of jobs; return the number of bytes added."""
        total = 0
        listed = store.listing([f"outputs/{job}" for job in jobs])
        for batch in _batches(jobs, _sizes(listed)):
            with tempfile.TemporaryDirectory(prefix="repx-") as folder:
                packed = _pack(store, batch, listed, Path(folder))
                total += sum(found.size for found in packed.values())
                self._add(packed, folder)
        return total

    def bring(self, found: Mapping[JobId, Found], target: Store) -> Brought:
        """Copy the results of jobs that have not succeeded at the target, markers last.

        Results that differ from their entries are not copied.
        """
        size = 0
        jobs: list[JobId] = []
        passed: list[JobId] = []
        broken: dict[JobId, str] = {}
        for batch in _batches(list(found), {job: each.size for job, each in found.items()}):
            with tempfile.TemporaryDirectory(prefix="repx-") as folder:
                wrong = self._get({job: found[job] for job in batch}, folder)
                here = {job: found[job] for job in batch if job not in wrong}
                unmarked: list[str] = []
                files = _unpacked(here, Path(folder), self.name, unmarked)
                total = sum(each.size for each in here.values())
                _, left = target.receive(
                    carry.NEW, progress.in_bytes(files, total, f"from {self.name}:")
                )
                broken |= wrong | dict.fromkeys(unmarked, "its results are not whole")
                passed += left
                jobs += [job for job in here if job not in (*left, *unmarked)]
                size += total
        return Brought(jobs=tuple(jobs), size_bytes=size, passed=tuple(passed), broken=broken)

    def delete(self, jobs: Iterable[JobId]) -> None:
        """Remove jobs: their entries first."""
        with self._failing("delete from"), self.opened.to_write() as there:
            for folder, end in ((_ENTRIES, "json"), (_PACKS, "")):
                starts = tuple(f"{job}.{end}" for job in jobs)
                paths = [path for path in _ls(there, folder) if _name(path).startswith(starts)]
                for path in paths:
                    there.fs.rm_file(path)

    def _add(self, packed: Mapping[JobId, Found], folder: str) -> None:
        entries = {job: json.dumps(_entry(found)).encode() for job, found in packed.items()}
        try:
            with self._failing("write"), self.opened.to_write() as there:
                packs = [there.path(_PACKS, _pack_name(job, each)) for job, each in packed.items()]
                there.fs.put([f"{folder}/{job}" for job in packed], packs)
                there.fs.pipe(
                    {there.path(_ENTRIES, f"{job}.json"): text for job, text in entries.items()}
                )
        except StorageError:
            if self.has(packed.keys()).keys() != packed.keys():  # otherwise another user was faster
                raise

    def _get(self, found: Mapping[JobId, Found], folder: str) -> dict[JobId, str]:
        """Copy packs to a local folder; return the reasons for packs that are damaged or gone."""
        with self._failing("read"), self.opened.to_read() as there:
            packs = {job: there.path(_PACKS, _pack_name(job, each)) for job, each in found.items()}
            try:
                there.fs.get(list(packs.values()), [f"{folder}/{job}" for job in packs])
            except (FileNotFoundError, RepxError):  # a pack is gone: fetch the others
                for job, path in packs.items():
                    if there.fs.exists(path):
                        there.fs.get([path], [f"{folder}/{job}"])
        wrong = [job for job, each in found.items() if _sum(Path(folder, job)) != each.sha256]
        return {
            job: f"its results are {'damaged' if Path(folder, job).exists() else 'gone'}"
            for job in wrong
        }

    @contextmanager
    def _failing(self, verb: str) -> Iterator[None]:
        """Raise StorageError, which names the archive, in place of a file system's error."""
        try:
            yield
        except Exception as error:  # each file system has its own errors
            said = error.message if isinstance(error, RepxError) else str(error) or repr(error)
            raise StorageError(f"cannot {verb} {self.name}: {said}", hint=_HINT) from error


_HINT: Final = "docs/remote.md, How do we share results?"


def of(url: str, ssh_config: str | None = None) -> Archive:
    """Return the archive at a URL or a path. Raises StorageError if it cannot be opened."""
    scheme, separator, rest = url.partition("://")
    plain = url if not separator else rest if scheme == "file" else None
    if scheme == "zip":
        inner, _, plain = rest.rpartition("::")
        plain = plain.removeprefix("file://")
        if "://" not in plain:
            return Archive(url, _Zip(Path(plain).absolute(), inner.strip("/")))
    elif plain is not None and plain.endswith(".zip"):
        return Archive(url, _Zip(Path(plain).absolute(), ""))
    elif plain is not None:
        return Archive(url, _of_store(stores.local(str(Path(plain).absolute()), tree.ARCHIVE)))
    elif scheme == "ssh":
        host, _, path = rest.partition("/")
        base = path if path.startswith("~") else f"/{path}"
        target = Target(
            name=url,
            address=f"ssh://{host}" if ":" in host else host,
            base_path=base,
            ssh_config=ssh_config,
            share=tree.ARCHIVE,
        )
        return Archive(url, _of_store(stores.of(target)))
    try:
        import fsspec

        fs, root = fsspec.core.url_to_fs(url)
    except Exception as error:
        raise StorageError(f"cannot open {url}: {error}", hint=_HINT) from error
    return Archive(url, _Opened(fs, root))


def _of_store(store: Store) -> _Opened:
    from repx.filesystem import StoreFileSystem

    return _Opened(StoreFileSystem(store=store), "")


def _ls(there: _Opened, folder: str) -> list[str]:
    try:
        return list(there.fs.ls(there.path(folder), detail=False))
    except FileNotFoundError:
        return []


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def _pack_name(job: JobId, found: Found) -> str:
    return f"{job}.{found.sha256}.tar.gz"


def _entry(found: Found) -> dict[str, object]:
    made = {"by": found.by, "host": found.host, "at": found.at}
    return {"sha256": found.sha256, "size": found.size, **made, "pushed_by": _user()}


def _batches(jobs: Iterable[JobId], sizes: Mapping[JobId, int]) -> Iterator[list[JobId]]:
    """Yield the jobs in batches with a limited number of bytes."""
    batch: list[JobId] = []
    size = 0
    for job in jobs:
        if batch and size + sizes.get(job, 0) > _BATCH:
            yield batch
            batch, size = [], 0
        batch.append(job)
        size += sizes.get(job, 0)
    if batch:
        yield batch


def _sizes(listed: Listed) -> dict[JobId, int]:
    found: dict[JobId, int] = {}
    for key, (_, size) in listed.items():
        job = key.split("/")[1]
        found[job] = found.get(job, 0) + size
    return found


def _pack(store: Store, jobs: Iterable[JobId], listed: Listed, folder: Path) -> dict[JobId, Found]:
    """Write a pack for each job into a local folder, in one round trip."""
    wanted = set(jobs)
    keys = [key for key in listed if key.split("/")[1] in wanted and _is_packed(key)]
    keys.sort(key=lambda key: (key.split("/")[1], key.split("/")[2:] == ["repx", SUCCESS], key))
    made: dict[JobId, Found] = {}
    pack: _Pack | None = None
    files = ((key, mode, file, "") for key, mode, file in store.fetch(keys))
    total = sum(listed[key][1] for key in keys)
    for key, mode, file, _ in progress.in_bytes(files, total, "packing:"):
        _, job, name = key.split("/", 2)
        if pack is None or pack.job != job:
            if pack is not None:
                made[pack.job] = pack.close()
            pack = _Pack(job, folder / job)
        pack.add(name, mode, file)
    if pack is not None:
        made[pack.job] = pack.close()
    return made


def _is_packed(key: str) -> bool:
    return "/out/" in key or key.rpartition("/")[2] not in _LEFT


class _Pack:
    """A tar of a job's files that is being written. Mutable."""

    def __init__(self, job: JobId, path: Path) -> None:
        self.job = job
        self._path = path
        self._file = path.open("wb")
        # No time in the header, so that equal results give equal packs.
        self._zipped = gzip.GzipFile(
            fileobj=self._file, filename="", mode="wb", compresslevel=6, mtime=0
        )
        self._tar = tarfile.open(fileobj=self._zipped, mode="w")  # noqa: SIM115  # closed below
        self._origin: Mapping[str, Any] = {}

    def add(self, name: str, mode: int, file: Any) -> None:  # noqa: ANN401  # what can be read
        member = tarfile.TarInfo(name)
        member.mode = mode & 0o777
        with tempfile.SpooledTemporaryFile(max_size=_CHUNK) as content:
            while chunk := file.read(_CHUNK):
                content.write(chunk)
            size = content.tell()
            content.seek(0)
            if name == f"repx/{SUCCESS}":
                self._origin = origin(as_object(content.read()))
                content.seek(0)
            if stat.S_ISLNK(mode):
                member.type, member.linkname = tarfile.SYMTYPE, os.fsdecode(content.read())
                self._tar.addfile(member)
            elif stat.S_ISDIR(mode):
                member.type = tarfile.DIRTYPE
                self._tar.addfile(member)
            else:
                member.size = size
                self._tar.addfile(member, content)

    def close(self) -> Found:
        for each in (self._tar, self._zipped, self._file):
            each.close()
        made = Found.of(self._origin) if self._origin else _mine()
        size = self._path.stat().st_size
        return Found(by=made.by, host=made.host, at=made.at, sha256=_sum(self._path), size=size)


def _unpacked(
    found: Mapping[JobId, Found], folder: Path, name: str, unmarked: list[JobId]
) -> Iterator[Outgoing]:
    """Yield the files of packs, each job's marker last, with a note of its source."""
    for job, each in found.items():
        try:
            marker = yield from _files_of(job, folder / job)
        except (tarfile.TarError, EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise StorageError(f"{name}: the results of job {job} are damaged: {error}") from error
        if marker is None:
            unmarked.append(job)
            continue
        key, mode, content = marker
        yield key, mode, marked(content, name, each), ""


def _files_of(job: JobId, path: Path) -> Generator[Outgoing, None, tuple[str, int, bytes] | None]:
    """Yield the files of a pack; return its marker."""
    marker: tuple[str, int, bytes] | None = None
    with tarfile.open(path, mode="r:gz") as pack:
        for member in pack:
            content = _content(pack, member)
            if content is None:
                continue
            mode, file = content
            if member.name == f"repx/{SUCCESS}":
                marker = (f"outputs/{job}/{member.name}", mode, file.read())
            else:
                yield f"outputs/{job}/{member.name}", mode, cast("BinaryIO", file), ""
    return marker


def _content(pack: tarfile.TarFile, member: tarfile.TarInfo) -> tuple[int, IO[bytes]] | None:
    if member.issym():
        return stat.S_IFLNK | 0o777, BytesIO(os.fsencode(member.linkname))
    if member.isdir():
        return stat.S_IFDIR | member.mode & 0o777, BytesIO()
    file = pack.extractfile(member) if member.isreg() else None
    return None if file is None else (member.mode & 0o777, file)


def _sum(path: Path) -> str:
    if not path.exists():
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _mine() -> Found:
    return Found(by=_user(), host=platform.node(), at=round(time.time()))


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # an account without a name
        return ""
