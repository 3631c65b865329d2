"""Container images: layered docker-archives of store paths, their layers shared by content."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import tarfile
from typing import TYPE_CHECKING

from repx.lab.expand.text import dumps, nix_hash

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from repx.lab.expand.writer import Writer

_MOST_LAYERS = 100  # engines allow 127; some are left to whoever builds on an image
_ARCHITECTURES = {"x86_64-linux": "amd64", "aarch64-linux": "arm64"}
_CREATED = "1970-01-01T00:00:01Z"
_TEXTS = {
    "etc/passwd": "root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n",
    "etc/group": "root:x:0:\nnobody:x:65534:\n",
}
_FOLDERS = ("bin", "etc", "usr", "usr/bin", "nix", "nix/store")


class Images:
    """Writes the images of one Lab; images that hold the same path share its layer."""

    def __init__(self, writer: Writer, system: str, links: Mapping[str, str]) -> None:
        """Write with ``writer``; ``links`` are programs that scripts expect at fixed places."""
        self._writer = writer
        self._architecture = _ARCHITECTURES.get(system, system.partition("-")[0])
        self._links = links
        self._layers: dict[tuple[str, ...], str] = {}

    def add(self, name: str, paths: Sequence[str]) -> str:
        """Write the image of a closure; return its folder in the Lab."""
        layers = [self._layer(())] + [self._layer(tuple(group)) for group in _groups(paths)]
        config = dumps(
            {
                "architecture": self._architecture,
                "config": {"Env": ["PATH=/usr/bin:/bin"]},
                "created": _CREATED,
                "history": [{"created": _CREATED, "created_by": "repx"} for _ in layers],
                "os": "linux",
                "rootfs": {"diff_ids": [f"sha256:{each}" for each in layers], "type": "layers"},
            }
        )
        digest = hashlib.sha256(config.encode()).hexdigest()
        tag = nix_hash(config)
        folder = f"images/{tag}-{name}.tar"
        for each in layers:
            stored = f"store/{each}-layer.tar"
            self._writer.link(f"{folder}/{each}/layer.tar", f"../../../{stored}", each)
        manifest = {
            "Config": f"{digest}.json",
            "Layers": [f"{each}/layer.tar" for each in layers],
            "RepoTags": [f"{name}:{tag}"],
        }
        self._writer.file(f"{folder}/{digest}.json", [config.encode()])
        self._writer.file(f"{folder}/manifest.json", [dumps([manifest]).encode()])
        return folder

    def _layer(self, paths: tuple[str, ...]) -> str:
        """Write the layer of some store paths (of none: the root's); return its checksum."""
        if paths not in self._layers:
            part = f"{self._writer.root}/store/.layer.part"
            with tarfile.open(part, "w", format=tarfile.GNU_FORMAT) as archive:
                if paths:
                    _add_stored(archive, paths)
                else:
                    _add_root(archive, self._links)
            digest = _sha256(part)
            self._writer.adopt(part, f"store/{digest}-layer.tar", digest)
            self._layers[paths] = digest
        return self._layers[paths]


def _groups(paths: Sequence[str]) -> list[list[str]]:
    """Return the paths of each layer: the biggest alone, all the small ones together.

    A path alone has the same layer in every Lab, so an update sends only what changed.
    """
    by_size = sorted(paths, key=lambda path: (-_size(path), path))
    alone, rest = by_size[: _MOST_LAYERS - 2], by_size[_MOST_LAYERS - 2 :]
    return [[path] for path in sorted(alone)] + ([sorted(rest)] if rest else [])


def _size(path: str) -> int:
    return sum(os.lstat(each).st_size for each in _below(path))


def _below(path: str) -> Iterable[str]:
    """Yield a path and all below it, in one order on every machine."""
    yield path
    if os.path.isdir(path) and not os.path.islink(path):
        for name in sorted(os.listdir(path)):
            yield from _below(f"{path}/{name}")


def _add_root(archive: tarfile.TarFile, links: Mapping[str, str]) -> None:
    for folder in _FOLDERS:
        archive.addfile(_entry(folder, tarfile.DIRTYPE, 0o755))
    archive.addfile(_entry("tmp", tarfile.DIRTYPE, 0o1777))
    for name, text in _TEXTS.items():
        entry = _entry(name, tarfile.REGTYPE, 0o644)
        entry.size = len(text)
        archive.addfile(entry, io.BytesIO(text.encode()))
    for name, target in links.items():
        entry = _entry(name, tarfile.SYMTYPE, 0o777)
        entry.linkname = target
        archive.addfile(entry)


def _add_stored(archive: tarfile.TarFile, paths: Sequence[str]) -> None:
    for folder in ("nix", "nix/store"):
        archive.addfile(_entry(folder, tarfile.DIRTYPE, 0o755))
    for path in paths:
        for each in _below(path):
            _add(archive, each)


def _add(archive: tarfile.TarFile, path: str) -> None:
    """Add one file; folders stay writable for their owner, who must remove them some day."""
    found = os.lstat(path)
    name = path.lstrip("/")
    if stat.S_ISLNK(found.st_mode):
        entry = _entry(name, tarfile.SYMTYPE, 0o777)
        entry.linkname = os.readlink(path)
        archive.addfile(entry)
    elif stat.S_ISDIR(found.st_mode):
        archive.addfile(_entry(name, tarfile.DIRTYPE, 0o755))
    else:
        entry = _entry(name, tarfile.REGTYPE, 0o555 if found.st_mode & 0o100 else 0o444)
        entry.size = found.st_size
        with open(path, "rb") as stream:
            archive.addfile(entry, stream)


def _entry(name: str, kind: bytes, mode: int) -> tarfile.TarInfo:
    """Return an entry that is the same whoever writes it, and when."""
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode, entry.mtime = kind, mode, 1
    return entry


def _sha256(path: str) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
