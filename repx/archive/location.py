"""The file systems of archives: a URL, or a path, and the folder that it names."""

from __future__ import annotations

import fcntl
import glob
import os
import re
import shutil
import tempfile
import zipfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from repx import store as stores
from repx.errors import InputError, StorageError, did_you_mean
from repx.places import tree
from repx.target import Target

if TYPE_CHECKING:
    from collections.abc import Iterator

    from repx.store import Store

ENTRIES: Final = "entries"
PACKS: Final = "packs"
HINT: Final = "docs/remote.md, How do we share results?"

_PASSWORD: Final = re.compile(r"://[^/@:]*:[^/@]+@")
# What webdav4 connects to, by the scheme of an archive.
_WEBDAV: Final = {"webdav": "https", "webdav+https": "https", "webdav+http": "http"}
# The extras of repx that bring a scheme's package.
_EXTRAS: Final = {"gcs": "gs", "gs": "gs", "s3": "s3", "s3a": "s3", "webdav": "webdav"}


class Opened:
    """A file system, and the folder of the archive in it."""

    def __init__(self, fs: Any, root: str) -> None:  # noqa: ANN401  # fsspec has no types
        """Take a file system of fsspec."""
        self.fs = fs
        self._root = root.rstrip("/")

    def path(self, folder: str, name: str = "") -> str:
        """Return the path of a file of the archive in its file system."""
        return "/".join(part for part in (self._root, folder, name) if part)

    @contextmanager
    def to_read(self) -> Iterator[Opened]:
        """Yield this file system as it is now."""
        self.fs.invalidate_cache()
        yield self

    @contextmanager
    def to_write(self) -> Iterator[Opened]:
        """Yield this file system with the folders of an archive."""
        self.fs.invalidate_cache()
        for folder in (ENTRIES, PACKS):
            self.fs.makedirs(self.path(folder), exist_ok=True)
        yield self


class WebDav:
    """A folder of a WebDAV server: each use has a connection. ~/.netrc has user and password."""

    def __init__(self, server: str, root: str) -> None:
        """Take the server's address for HTTP, and the folder there."""
        self._server = server
        self._root = root
        self._class = _class("webdav")

    @contextmanager
    def to_read(self) -> Iterator[Opened]:
        """Yield the server's file system."""
        import httpx

        netrc = Path("~/.netrc").expanduser()
        auth = {"auth": httpx.NetRCAuth(str(netrc))} if netrc.exists() else {}
        fs = self._class(self._server, skip_instance_cache=True, **auth)
        with fs.client.http:
            yield Opened(fs, self._root)

    @contextmanager
    def to_write(self) -> Iterator[Opened]:
        """Yield the server's file system with the folders of an archive."""
        with self.to_read() as there, there.to_write():
            # Otherwise each file that is written takes eight requests for its folder.
            there.fs.mkdirs = lambda *_, **__: None
            yield there


class Zip:
    """A zip on this machine: opened for each use, and rewritten so that it is always complete."""

    def __init__(self, path: Path, root: str) -> None:
        """Take the zip's path, and the folder in it."""
        self._path = path
        self._root = root

    @contextmanager
    def to_read(self) -> Iterator[Opened]:
        """Yield the zip's file system; an empty one if there is no zip."""
        if not self._path.exists():
            yield Opened(_file_system("memory"), f"/{os.urandom(12).hex()}")
            return
        fs = _file_system("zip", fo=str(self._path))
        try:
            yield Opened(fs, self._root)
        finally:
            fs.close()

    @contextmanager
    def to_write(self) -> Iterator[Opened]:
        """Yield a folder with the zip's content; the new content replaces the zip at the end."""
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
                yield Opened(_file_system("file", auto_mkdir=True), str(content / self._root))
                made = Path(folder, "made")
                _zip(content, made)
                made.rename(self._path)
        finally:
            os.close(above)


Location: TypeAlias = Opened | WebDav | Zip


def _zip(folder: Path, made: Path) -> None:
    """Write a zip of a folder, without compression: packs are already compressed."""
    with zipfile.ZipFile(made, "w") as written:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                written.write(path, path.relative_to(folder))


def opened(url: str, ssh_config: str | None = None) -> Location:
    """Return the file system of an archive.

    Raises InputError for a URL with a password, StorageError if the archive cannot be opened.
    """
    if _PASSWORD.search(url):
        raise InputError(
            "the URL of an archive holds a password, which repx would show and store",
            hint="write it to ~/.netrc for webdav, else to ~/.config/fsspec/conf.json",
        )
    scheme, separator, rest = url.partition("://")
    if not separator or scheme == "file":
        return _at(rest if separator else url)
    if scheme == "ssh":
        return _of_store(stores.of(_target(url, rest, ssh_config)))
    inner, _, outer = rest.rpartition("::")
    outer = outer.removeprefix("file://")
    if scheme == "zip" and "://" not in outer:
        return Zip(Path(outer).absolute(), inner.strip("/"))
    return _elsewhere(url, scheme, rest)


def _at(path: str) -> Location:
    """Return the zip or the folder at a path on this machine."""
    if path.endswith(".zip"):
        return Zip(Path(path).absolute(), "")
    return _of_store(stores.local(str(Path(path).absolute()), tree.ARCHIVE))


def _elsewhere(url: str, scheme: str, rest: str) -> Location:
    host, _, path = rest.partition("/")
    try:
        return WebDav(f"{_WEBDAV[scheme]}://{host}", path) if scheme in _WEBDAV else _any(url)
    except ImportError as error:
        hint = _install("webdav" if scheme in _WEBDAV else scheme)
        raise StorageError(f"cannot open {url}: {_missing(error)}", hint=hint) from error
    except ValueError as error:
        known = did_you_mean(scheme, _schemes())
        raise StorageError(f"cannot open {url}: {error}", hint=known or HINT) from error
    except Exception as error:  # each file system has its own errors
        raise StorageError(f"cannot open {url}: {error}", hint=HINT) from error


def _target(url: str, rest: str, ssh_config: str | None) -> Target:
    """Return a target whose store is an archive."""
    host, _, path = rest.partition("/")
    return Target(
        name=url,
        address=f"ssh://{host}" if ":" in host else host,
        base_path=path if path.startswith("~") else f"/{path}",
        ssh_config=ssh_config,
        share=tree.ARCHIVE,
    )


def _of_store(store: Store) -> Opened:
    from repx.filesystem import StoreFileSystem

    return Opened(StoreFileSystem(store=store), "")


def _any(url: str) -> Opened:
    import fsspec

    return Opened(*fsspec.core.url_to_fs(url))


def _file_system(protocol: str, **options: object) -> Any:  # noqa: ANN401  # fsspec has no types
    import fsspec  # takes 0.1 s, which most commands do not need

    return fsspec.filesystem(protocol, skip_instance_cache=True, **options)


def _class(protocol: str) -> Any:  # noqa: ANN401  # fsspec has no types
    import fsspec

    return fsspec.get_filesystem_class(protocol)


def _schemes() -> list[str]:
    import fsspec

    return ["ssh", *_WEBDAV, *fsspec.available_protocols()]


def _missing(error: ImportError) -> str:
    """Return which package is missing; a package of fsspec may itself lack another one."""
    return f"{error} ({error.__cause__})" if error.__cause__ else str(error)


def _install(scheme: str) -> str:
    if scheme in _EXTRAS:
        return f"pip install 'repx-hpc[{_EXTRAS[scheme]}]'"
    return "install this package where repx is installed"
