"""The images of a Lab: docker archives and OCI layouts, as folders or tars, read as layers."""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
import weakref
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

from repx.errors import LabError
from repx.lab.files import Kind, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path
    from typing import BinaryIO

    from repx.lab.files import LabFiles

# Unpacks zstd into a new file that the caller owns; None if the tool is not installed.
Unpack: TypeAlias = "Callable[[BinaryIO], Path | None]"

_DIGEST: Final = re.compile(r"(?:sha256:)?([0-9a-f]{64})")
_LONGEST_JSON: Final = 64 << 20
_CHUNK: Final = 1 << 20
_PACKED: Final = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"BZh", b"\xfd7zXZ")
_DIGEST_LENGTH: Final = 32
_ZSTD: Final = _PACKED[1]


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
        described = json.loads(config)
    except (ValueError, KeyError, TypeError, IndexError, tarfile.TarError, RecursionError) as error:
        raise LabError(f"{shown}: a broken image: {str(error) or type(error).__name__}") from error
    return Image(
        path=path,
        digest=digest(config, layers),
        config=config,
        layers=tuple(layers),
        environment=_environment(described),
    )


def digest(config: bytes, layers: Iterable[Layer]) -> str:
    """Return the digest of an image's content."""
    named = hashlib.sha256(config)
    for layer in layers:
        named.update(layer.sha256.encode())
    return named.hexdigest()[:_DIGEST_LENGTH]


def _environment(config: Mapping[str, Any]) -> dict[str, str]:
    words = (config.get("config") or {}).get("Env") or ()
    pairs = (word.partition("=") for word in words)
    return {name: value for name, equals, value in pairs if equals and name}


def _docker_archive(folder: _Folder) -> tuple[bytes, list[Layer]]:
    """Read an archive of `docker save` or Nix: one image, its layers named in manifest.json."""
    manifest = _json(folder, "manifest.json")[0]
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
    entry = _json(folder, "index.json")["manifests"][0]
    manifest = _json(folder, _blob(entry))
    if "manifests" in manifest:  # an index of platforms inside the index
        manifest = _json(folder, _blob(manifest["manifests"][0]))

    def layer(described: Mapping[str, Any]) -> Layer:
        name = _blob(described)
        return Layer(
            sha256=_hex(described["digest"]),
            size=folder.size(name),
            open=lambda: folder.open(name),
        )

    return _bytes(folder, _blob(manifest["config"])), [layer(each) for each in manifest["layers"]]


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
        zstd = stream.read(len(_ZSTD)) == _ZSTD
    try:
        return _unpacked(files, path, shown, unpack) if zstd else _Archive(lambda: files.open(path))
    except (tarfile.TarError, OSError, EOFError) as error:
        raise LabError(f"{shown}: not a tar: {error}") from error


def _unpacked(files: LabFiles, path: str, shown: str, unpack: Unpack | None) -> _Folder:
    """Return an archive that was packed with zstd; the unpacked file is deleted with the object."""
    with files.open(path) as stream:
        unpacked = unpack(stream) if unpack else None
    if unpacked is None:
        raise LabError(
            f"{shown}: an image packed with zstd, which is not installed here",
            hint="install zstd (on Debian: apt-get install zstd)",
        )
    archive = _Archive(lambda: unpacked.open("rb"))
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
    """An image that is a tar, perhaps packed with gzip, bzip2 or xz."""

    def __init__(self, read: Callable[[], AbstractContextManager[BinaryIO]]) -> None:
        self._read = read
        with self._tar() as tar:
            self._sizes = {
                member.name.removeprefix("./"): (member.name, _size(tar, member))
                for member in tar
                if not member.isdir()
            }

    def has(self, name: str) -> bool:
        return name in self._sizes

    def size(self, name: str) -> int:
        return self._sizes[name][1]

    @contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        with self._tar() as tar:
            stream = tar.extractfile(self._sizes[name][0])
            if stream is None:
                message = f"{name} is no file"
                raise ValueError(message)
            yield stream  # type: ignore[misc]  # an io.BufferedReader is one

    @contextmanager
    def _tar(self) -> Iterator[tarfile.TarFile]:
        with self._read() as file, tarfile.open(fileobj=file) as tar:
            yield tar


def _size(tar: tarfile.TarFile, member: tarfile.TarInfo) -> int:
    """Return the size of a member; of a link, that of its target."""
    stream = tar.extractfile(member)
    return stream.seek(0, 2) if stream else 0
