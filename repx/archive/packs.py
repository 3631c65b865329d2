"""The packs of an archive: a tar of the files of one job, its marker last."""

from __future__ import annotations

import gzip
import hashlib
import os
import platform
import pwd
import stat
import tarfile
import time
import zlib
from collections import Counter
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any, BinaryIO, Final, cast

from repx import progress
from repx.brought import Found, marked, origin
from repx.errors import StorageError
from repx.places import carry
from repx.places.carry import Rest
from repx.store import FAIL, SUCCESS, as_object

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from repx.model import JobId
    from repx.places import Outgoing
    from repx.store import Store

    Listed = Mapping[str, tuple[int, int]]
    Begun = Mapping[str, tuple[int, str]]

_MARKER: Final = f"repx/{SUCCESS}"
_LEFT: Final = ("lock", FAIL)
_CHUNK: Final = 1 << 20
_DAMAGE: Final = (tarfile.TarError, EOFError, gzip.BadGzipFile, zlib.error, UnicodeError)


def write(store: Store, jobs: Iterable[JobId], listed: Listed, folder: Path) -> dict[JobId, Found]:
    """Write a pack for each job into a local folder, in two round trips.

    A job that changes meanwhile has no pack.
    """
    wanted = {f"outputs/{job}/{_MARKER}": job for job in jobs}
    markers = store.read_many(list(wanted))
    chosen = {wanted[key] for key in markers}
    keys = [key for key in listed if key.split("/")[1] in chosen and _is_packed(key)]
    keys.sort(key=lambda key: (key.split("/")[1], key in wanted, key))
    left = Counter(key.split("/")[1] for key in keys)
    made: dict[JobId, Found] = {}
    pack: _Pack | None = None
    files = ((key, mode, file, "") for key, mode, file in store.fetch(keys))
    total = sum(listed[key][1] for key in keys)
    for key, mode, file, _ in progress.in_bytes(files, total, "packing:"):
        _, job, name = key.split("/", 2)
        left[job] -= 1
        if pack is None or pack.job != job:
            if pack is not None:
                pack.close()
            pack = _Pack(job, folder / job)
        if key not in wanted:
            pack.add(name, mode, file, listed[key][1])
        elif (marker := _Whole(file).read(_CHUNK)) == markers[key] and not left[job]:
            pack.add(name, mode, BytesIO(marker), len(marker))
            made[job] = pack.finished(origin(as_object(marker)))
    if pack is not None:
        pack.close()
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

    def add(self, name: str, mode: int, file: Any, size: int) -> None:  # noqa: ANN401  # readable
        member = tarfile.TarInfo(name)
        member.mode = mode & 0o777
        if stat.S_ISLNK(mode):
            member.type, member.linkname = tarfile.SYMTYPE, os.fsdecode(_Whole(file).read(_CHUNK))
            self._tar.addfile(member)
        elif stat.S_ISDIR(mode):
            member.type = tarfile.DIRTYPE
            self._tar.addfile(member)
        else:
            member.size = size
            try:
                self._tar.addfile(member, cast("Any", _Whole(file)))
            except OSError as error:
                raise self._changed(name) from error
            if file.read(1):
                raise self._changed(name)

    def _changed(self, name: str) -> StorageError:
        return StorageError(
            f"job {self.job}: out of date while it was read: {name}",
            hint="push again when nothing writes to this job's folder",
        )

    def finished(self, made: Mapping[str, Any]) -> Found:
        """Close the pack; return its sum and size, and who made the results."""
        self.close()
        maker = Found.of(made) if made else _mine()
        size = self._path.stat().st_size
        return Found(
            by=maker.by, host=maker.host, at=maker.at, sha256=sum_of(self._path), size=size
        )

    def close(self) -> None:
        for each in (self._tar, self._zipped, self._file):
            each.close()


class _Whole:
    """A file whose reads are as long as asked, except at its end."""

    def __init__(self, file: BinaryIO) -> None:
        self._read = file.read

    def read(self, size: int) -> bytes:
        parts = []
        while size > 0 and (chunk := self._read(size)):
            parts.append(chunk)
            size -= len(chunk)
        return b"".join(parts)


@dataclass(frozen=True, slots=True)
class Examined:
    """What a pack holds: the sizes of its files by name, and why it cannot be used."""

    path: Path
    sizes: Mapping[str, int]
    trouble: str | None


def examined(path: Path) -> Examined:
    """Read a pack to its end: a sum says nothing of who made the pack."""
    sizes: dict[str, int] = {}
    try:
        with tarfile.open(path, mode="r:gz") as pack:
            for member in pack:
                if trouble := _trouble(pack, member):
                    return Examined(path, {}, f"its results are damaged: {member.name}: {trouble}")
                sizes[member.name] = member.size
    except (*_DAMAGE, OSError) as error:
        return Examined(path, {}, f"its results are damaged: {error}")
    return Examined(path, sizes, None if _MARKER in sizes else "its results are not whole")


def _trouble(pack: tarfile.TarFile, member: tarfile.TarInfo) -> str | None:
    """Return why a member cannot be a file of a job; read the member to its end."""
    key = f"outputs/job/{member.name}"
    parts = member.name.split("/")
    if parts[0] not in ("out", "repx") or {"", ".", ".."}.intersection(parts):
        return "not a file of a job"
    if not _is_packed(key) or (member.name == _MARKER and not _is_marker(member)):
        return "not a file of results"
    if member.issym():
        inside = carry.leads_inside(key, member.linkname)
        return None if inside else "a link that leads out of its job"
    if member.isdir():
        return None
    file = pack.extractfile(member) if member.isreg() else None
    if file is None:
        return "neither file, link nor folder"
    while file.read(_CHUNK):
        pass
    return None


def _is_marker(member: tarfile.TarInfo) -> bool:
    return member.isreg() and member.size < _CHUNK


def files(
    paths: Mapping[JobId, Path], found: Mapping[JobId, Found], name: str, begun: Begun
) -> Iterator[Outgoing]:
    """Yield the files of sound packs, each job's marker last and with a note of its source.

    ``begun`` is what the receiver has of them (``repx.places.Files.begun``).
    """
    for job, path in paths.items():
        marker: Outgoing | None = None
        with tarfile.open(path, mode="r:gz") as pack:
            for member in pack:
                key = f"outputs/{job}/{member.name}"
                mode, file = _content(pack, member)
                if member.name == _MARKER:
                    marker = (key, mode, marked(file.read(), name, found[job]), "")
                else:
                    yield key, mode, _rest(file, *begun.get(key, (0, ""))), ""
        if marker is not None:
            yield marker


def _content(pack: tarfile.TarFile, member: tarfile.TarInfo) -> tuple[int, BinaryIO]:
    if member.issym():
        return stat.S_IFLNK | 0o777, BytesIO(os.fsencode(member.linkname))
    if member.isdir():
        return stat.S_IFDIR | member.mode & 0o777, BytesIO()
    return member.mode & 0o777, cast("BinaryIO", pack.extractfile(member))


def _rest(file: BinaryIO, size: int, sha256: str) -> Rest:
    """Return a file without its first bytes if the receiver has them, else all of it."""
    if size and carry.sum_of(file, size) == sha256:
        return Rest(file, size)
    file.seek(0)
    return Rest(file)


def sum_of(path: Path) -> str:
    """Return the sum of a local file; empty if there is none."""
    if not path.exists():
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def user() -> str:
    """Return the name of the user's account; its number if it has no name."""
    number = os.geteuid()
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"


def _mine() -> Found:
    return Found(by=user(), host=platform.node(), at=round(time.time()))
