"""Results kept for others on any file system that fsspec knows: named by content, marker last.

packs/<sha256>.tar.gz   the files of one job, each below its path in a store
entries/<job>.json      its marker: the sum and size of the pack, who made it, where and when
"""

from __future__ import annotations

import getpass
import gzip
import hashlib
import json
import platform
import tarfile
import tempfile
import time
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Final, cast

from repx.errors import StorageError
from repx.store import SUCCESS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from repx.model import JobId
    from repx.places import Outgoing
    from repx.store import Store

_ENTRIES: Final = "entries"
_PACKS: Final = "packs"
_LEFT: Final = ("lock", "FAIL")
_IN_MEMORY: Final = 64 << 20
_CHUNK: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Archive:
    """Entries by job id on one file system. What fails there raises StorageError."""

    url: str
    fs: Any
    root: str

    def has(self, jobs: Collection[JobId]) -> dict[JobId, Mapping[str, Any]]:
        """Return the entries of those of the jobs that are there whole."""
        wanted = {f"{job}.json": job for job in jobs}
        with _failing("read", self.url):
            self.fs.invalidate_cache()
            names = {path.rpartition("/")[2] for path in self._ls(_ENTRIES)}
            paths = {wanted[name]: self._path(_ENTRIES, name) for name in names & wanted.keys()}
            found = {job: _object(self.fs.cat_file(path)) for job, path in paths.items()}
        return {job: entry for job, entry in found.items() if "sha256" in entry}

    def put(self, job: JobId, store: Store) -> int:
        """Add a job's results, unless they are there; return the bytes that were added."""
        with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as pack:
            _pack(store, job, cast("IO[bytes]", pack))
            size = pack.tell()
            sha256 = _sum(cast("IO[bytes]", pack))
            path = self._path(_PACKS, f"{sha256}.tar.gz")
            entry = {"sha256": sha256, "size": size, **_maker()}
            with _failing("write", self.url):
                for folder in (_ENTRIES, _PACKS):
                    self.fs.makedirs(f"{self.root}/{folder}", exist_ok=True)
                pack.seek(0)
                with self.fs.open(path, "wb") as file:
                    while chunk := pack.read(_CHUNK):
                        file.write(chunk)
                self.fs.pipe_file(self._path(_ENTRIES, f"{job}.json"), json.dumps(entry).encode())
        return size

    def get(self, job: JobId, entry: Mapping[str, Any], store: Store) -> int:
        """Bring a job's results to a store, its marker last; return their bytes.

        Raises StorageError, and brings nothing, where the pack is not what its entry says.
        """
        path = self._path(_PACKS, f"{entry['sha256']}.tar.gz")
        with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as pack:
            with _failing("read", self.url), self.fs.open(path, "rb") as file:
                while chunk := file.read(_CHUNK):
                    pack.write(chunk)
            if _sum(cast("IO[bytes]", pack)) != entry["sha256"]:
                raise StorageError(
                    f"{self.url}: the results of job {job} are damaged",
                    hint="ask who pushed them to push them again, or run the job",
                )
            pack.seek(0)
            with tarfile.open(fileobj=pack, mode="r:gz") as archive:
                return store.write_many(_members(archive, job))

    def delete(self, jobs: Iterable[JobId]) -> None:
        """Remove entries; packs stay as long as another entry may have them."""
        with _failing("delete from", self.url):
            for job in jobs:
                path = self._path(_ENTRIES, f"{job}.json")
                if self.fs.exists(path):
                    self.fs.rm_file(path)

    def _path(self, folder: str, name: str) -> str:
        return f"{self.root}/{folder}/{name}"

    def _ls(self, folder: str) -> list[str]:
        try:
            return list(self.fs.ls(f"{self.root}/{folder}", detail=False))
        except FileNotFoundError:
            return []


def of(url: str) -> Archive:
    """Return the archive at a URL. Raises StorageError for one that cannot be opened."""
    import fsspec  # 0.1 s that most commands can do without

    try:
        fs, root = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError, OSError) as error:
        raise StorageError(f"cannot open {url}: {error}", hint="see docs/remote.md") from error
    return Archive(url, fs, root.rstrip("/"))


class _failing:  # noqa: N801  # reads as a statement
    """Turns what a file system raises into StorageError."""

    def __init__(self, verb: str, url: str) -> None:
        self._said = f"cannot {verb} {url}"

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError | ValueError | NotImplementedError):
            raise StorageError(f"{self._said}: {error}") from error


def _pack(store: Store, job: JobId, pack: IO[bytes]) -> None:
    """Write a job's files into a tar, its marker last."""
    home = f"outputs/{job}"
    sizes = store.sizes(home)
    keys = [key for key in sizes if key.rpartition("/")[2] not in _LEFT or "/out/" in key]
    keys.sort(key=lambda key: (key == f"{home}/repx/{SUCCESS}", key))
    # Without a time in its head, so that equal results are equal packs.
    with (
        gzip.GzipFile(fileobj=pack, mode="wb", compresslevel=6, mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w") as archive,
    ):
        for key, mode, file in store.files.fetch(keys, {}):
            with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as content:
                while chunk := file.read(_CHUNK):
                    content.write(chunk)
                member = tarfile.TarInfo(key.removeprefix(f"{home}/"))
                member.size, member.mode = content.tell(), mode
                content.seek(0)
                archive.addfile(member, cast("IO[bytes]", content))


def _members(archive: tarfile.TarFile, job: JobId) -> Iterator[Outgoing]:
    for member in archive:
        content = archive.extractfile(member) if member.isreg() else None
        if content is not None:
            yield f"outputs/{job}/{member.name}", member.mode & 0o777, cast("Any", content), ""


def _sum(file: IO[bytes]) -> str:
    file.seek(0)
    digest = hashlib.sha256()
    while chunk := file.read(_CHUNK):
        digest.update(chunk)
    return digest.hexdigest()


def _maker() -> dict[str, object]:
    try:
        who = getpass.getuser()
    except (KeyError, OSError):  # an account without a name
        who = ""
    return {"by": who, "host": platform.node(), "at": round(time.time())}


def _object(content: bytes) -> Mapping[str, Any]:
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}
