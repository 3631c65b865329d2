"""The images of a Lab: docker archives and OCI layouts, as folders or tars, read as layers."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import json
import lzma
import platform
import re
import shutil
import tarfile
import tempfile
import weakref
import zlib
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Protocol, TypeAlias

from repx.errors import LabError
from repx.lab.files import Kind, printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from contextlib import AbstractContextManager

    from repx.lab.files import LabFiles

# Unpacks zstd into a new file that the caller owns; None if the tool is not installed.
Unpack: TypeAlias = "Callable[[BinaryIO], Path | None]"

_DIGEST: Final = re.compile(r"(?:sha256:)?([0-9a-f]{64})")
_LONGEST_JSON: Final = 64 << 20
_CHUNK: Final = 1 << 20
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_UNPACKERS: Final[Mapping[bytes, Callable[[BinaryIO], Any]]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ": lzma.open,
}
_PACKED: Final = (_ZSTD, *_UNPACKERS)
_SIF: Final = slice(32, 41), b"SIF_MAGIC"
_DIGEST_LENGTH: Final = 32
_DEEPEST_INDEX: Final = 3  # of platforms, inside one of names
_MACHINES: Final = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One layer: the sha256 and the size of its stored bytes, and how to read them."""

    sha256: str
    size: int
    open: Callable[[], AbstractContextManager[BinaryIO]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image: its path in the Lab, its layers from the lowest up, its configuration.

    Images with the same ``digest`` have the same content.
    """

    path: str
    digest: str
    config: bytes
    layers: tuple[Layer, ...]
    environment: Mapping[str, str]


_BROKEN: Final = (
    *(ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError),
    *(tarfile.TarError, EOFError, zlib.error, lzma.LZMAError),
)


class _Folder(Protocol):
    """The files of an image that is a folder or a tar."""

    def has(self, name: str) -> bool: ...

    def size(self, name: str) -> int: ...

    def open(self, name: str) -> AbstractContextManager[BinaryIO]: ...


def read(files: LabFiles, path: str, unpack: Unpack | None = None) -> Image:
    """Read an image of a Lab. Raises LabError for a path that is no image, or a broken one.

    A tar that is packed with zstd needs ``unpack``.
    """
    shown = files.describe(path)
    folder = _folder(files, files.resolve(path), shown, unpack)
    try:
        if folder.has("manifest.json"):
            config, layers = _docker_archive(folder)
        elif folder.has("index.json"):
            config, layers = _oci_layout(folder)
        else:
            raise LabError(
                f"{shown}: neither a docker archive nor an OCI layout: "
                "it has no manifest.json and no index.json",
                hint="make one, e.g. with `skopeo copy SOURCE docker-archive:FILE.tar`",
            )
        environment = _environment(json.loads(config))
    except _BROKEN as error:
        raise LabError(f"{shown}: a broken image: {str(error) or type(error).__name__}") from error
    return Image(
        path=path,
        digest=digest(config, layers),
        config=config,
        layers=tuple(layers),
        environment=environment,
    )


def digest(config: bytes, layers: Iterable[Layer]) -> str:
    """Return the digest of an image's content."""
    named = hashlib.sha256(config)
    for layer in layers:
        named.update(layer.sha256.encode())
    return named.hexdigest()[:_DIGEST_LENGTH]


def _environment(config: Mapping[str, Any]) -> dict[str, str]:
    words = (config.get("config") or {}).get("Env") or ()
    for word in words:
        if b"\0" in word.encode():
            message = f"its variable {printable(word)} has a zero byte"
            raise ValueError(message)
    pairs = (word.partition("=") for word in words)
    return {name: value for name, equals, value in pairs if equals and name}


def _docker_archive(folder: _Folder) -> tuple[bytes, list[Layer]]:
    """Read an archive of `docker save` or Nix: one image, its layers named in manifest.json."""
    listed = {json.dumps([each["Config"], each["Layers"]]): each for each in _manifests(folder)}
    if len(listed) > 1:
        raise _several(tag for each in listed.values() for tag in each.get("RepoTags") or ["?"])
    (manifest,) = listed.values()
    config = _bytes(folder, manifest["Config"])
    contents = json.loads(config)["rootfs"]["diff_ids"]
    names = manifest["Layers"]
    if len(contents) != len(names):
        message = f"{len(names)} layers, but its configuration has {len(contents)}"
        raise ValueError(message)
    return config, [
        _layer(folder, name, content) for name, content in zip(names, contents, strict=True)
    ]


def _layer(folder: _Folder, name: str, content: str) -> Layer:
    """Return a layer; unless it is packed, the configuration has its sum."""
    with folder.open(name) as stream:
        packed = stream.read(6).startswith(_PACKED)
    return Layer(
        sha256=_sum(folder, name) if packed else _hex(content),
        size=folder.size(name),
        open=lambda: folder.open(name),
    )


def _oci_layout(folder: _Folder) -> tuple[bytes, list[Layer]]:
    """Read an OCI image layout: index.json names a manifest, which names blobs by digest."""
    manifest = _json(folder, "index.json")
    for _ in range(_DEEPEST_INDEX):
        if "manifests" in manifest:
            manifest = json.loads(_checked(folder, _for_this_machine(manifest["manifests"])))

    def layer(described: Mapping[str, Any]) -> Layer:
        name = _blob(described)
        return Layer(
            sha256=_hex(described["digest"]),
            size=folder.size(name),
            open=lambda: folder.open(name),
        )

    return _checked(folder, manifest["config"]), [layer(each) for each in manifest["layers"]]


def _checked(folder: _Folder, described: Mapping[str, Any]) -> bytes:
    """Return the content of a blob, which its digest must fit."""
    content = _bytes(folder, _blob(described))
    if hashlib.sha256(content).hexdigest() != _hex(described["digest"]):
        message = f"{_blob(described)} is not what its digest says"
        raise ValueError(message)
    return content


def machine() -> str:
    """Return the architecture of this machine, as images name it."""
    return _MACHINES.get(platform.machine(), platform.machine())


def _for_this_machine(listed: Iterable[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return the only image of an index, or the only one for this machine."""
    found = {each["digest"]: each for each in listed if _platform(each) != "unknown/unknown"}
    if len(found) > 1:
        mine = {key: each for key, each in found.items() if _platform(each) == f"linux/{machine()}"}
        found = mine or found
    if len(found) > 1:
        raise _several(f"{_reference(each)} for {_platform(each)}" for each in found.values())
    (only,) = found.values()
    return only


def _platform(described: Mapping[str, Any]) -> str:
    """Return the platform of an image; that of a proof of origin, which is no image, is unknown."""
    named = described.get("platform") or {"os": "linux", "architecture": machine()}
    return f"{named['os']}/{named['architecture']}"


def _reference(described: Mapping[str, Any]) -> str:
    names = described.get("annotations") or {}
    return str(names.get("org.opencontainers.image.ref.name") or described["digest"][:19])


def _several(names: Iterable[str]) -> ValueError:
    shown = printable(", ".join(names))
    return ValueError(f"it holds several images ({shown}): save the wanted one alone")


def _manifests(folder: _Folder) -> list[Mapping[str, Any]]:
    listed = _json(folder, "manifest.json")
    if not isinstance(listed, list) or not listed:
        message = "its manifest.json lists no image"
        raise ValueError(message)
    return listed


def _blob(described: Mapping[str, Any]) -> str:
    return f"blobs/sha256/{_hex(described['digest'])}"


def _hex(digest: str) -> str:
    found = _DIGEST.fullmatch(digest)
    if found is None:
        message = f"'{printable(digest)}' is not a sha256"
        raise ValueError(message)
    return found[1]


def _sum(folder: _Folder, name: str) -> str:
    digest = hashlib.sha256()
    with folder.open(name) as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _json(folder: _Folder, name: str) -> Any:  # noqa: ANN401  # JSON of others
    return json.loads(_bytes(folder, name))


def _bytes(folder: _Folder, name: str) -> bytes:
    with folder.open(name) as stream:
        content = stream.read(_LONGEST_JSON + 1)
    if len(content) > _LONGEST_JSON:
        message = f"{name} is too long"
        raise ValueError(message)
    return content


def is_zstd(file: Path) -> bool:
    """Return whether a file is packed with zstd."""
    with file.open("rb") as stream:
        return stream.read(len(_ZSTD)) == _ZSTD


def _folder(files: LabFiles, path: str, shown: str, unpack: Unpack | None) -> _Folder:
    kind = files.kind(path)
    if kind is Kind.DIR:
        return _LabFolder(files, path)
    if kind is not Kind.FILE:
        raise LabError(f"{shown}: there is no such image")
    with files.open(path) as stream:
        head = stream.read(64)
    if head[_SIF[0]] == _SIF[1]:
        raise LabError(
            f"{shown}: a SIF image, which only apptainer reads",
            hint="name the image that it was made of, e.g. docker://NAME",
        )
    opener = next((each for magic, each in _UNPACKERS.items() if head.startswith(magic)), None)
    try:
        if head.startswith(_ZSTD):
            return _unpacked(files, path, shown, unpack)
        return _Archive(lambda: files.open(path)) if opener is None else _plain(files, path, opener)
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise LabError(f"{shown}: not a tar: {str(error).partition(chr(10))[0]}") from error
    except OSError as error:
        raise LabError(f"{shown}: cannot read it: {error.strerror or error}") from error


def _plain(files: LabFiles, path: str, opener: Callable[[BinaryIO], Any]) -> _Folder:
    """Return an archive that was packed, unpacked once: its parts are read one by one."""
    with tempfile.NamedTemporaryFile(prefix="repx-image-", suffix=".tar", delete=False) as made:
        unpacked = Path(made.name)
        try:
            with files.open(path) as packed, opener(packed) as stream:
                shutil.copyfileobj(stream, made, _CHUNK)
        except BaseException:
            unpacked.unlink()
            raise
    return _owner(unpacked)


def _unpacked(files: LabFiles, path: str, shown: str, unpack: Unpack | None) -> _Folder:
    """Return an archive that was packed with zstd."""
    with files.open(path) as stream:
        unpacked = unpack(stream) if unpack else None
    if unpacked is None:
        raise LabError(
            f"{shown}: an image packed with zstd, which is not installed here",
            hint="install zstd (on Debian: apt-get install zstd)",
        )
    return _owner(unpacked)


def _owner(unpacked: Path) -> _Folder:
    """Return the archive in a file that is deleted with the object."""
    try:
        archive = _Archive(lambda: unpacked.open("rb"))
    except BaseException:
        unpacked.unlink()
        raise
    weakref.finalize(archive, unpacked.unlink, missing_ok=True)
    return archive


class _LabFolder:
    """An image that is a folder of the Lab."""

    def __init__(self, files: LabFiles, path: str) -> None:
        self._files = files
        self._path = path

    def has(self, name: str) -> bool:
        return self._files.kind(f"{self._path}/{name}") is not None

    def size(self, name: str) -> int:
        return self._files.size(f"{self._path}/{name}")

    def open(self, name: str) -> AbstractContextManager[BinaryIO]:
        return self._files.open(f"{self._path}/{name}")


class _Archive:
    """An image that is a plain tar."""

    def __init__(self, read: Callable[[], AbstractContextManager[BinaryIO]]) -> None:
        self._read = read
        with self._tar() as tar:
            self._members = {
                member.name.removeprefix("./"): (member, _size(tar, member))
                for member in tar
                if not member.isdir()
            }

    def has(self, name: str) -> bool:
        return name in self._members

    def size(self, name: str) -> int:
        return self._members[name][1]

    @contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        with self._tar() as tar:
            stream = tar.extractfile(self._members[name][0])
            if stream is None:
                message = f"{name} is no file"
                raise ValueError(message)
            yield stream  # type: ignore[misc]  # an io.BufferedReader is one

    @contextmanager
    def _tar(self) -> Iterator[tarfile.TarFile]:
        with self._read() as file, tarfile.open(fileobj=file, mode="r:") as tar:
            yield tar


def _size(tar: tarfile.TarFile, member: tarfile.TarInfo) -> int:
    """Return the size of a member; of a link, that of its target."""
    stream = tar.extractfile(member)
    return stream.seek(0, 2) if stream else 0
