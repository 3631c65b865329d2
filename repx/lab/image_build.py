"""An image that lab.yaml names, put into the Lab: an archive, a layout, or a folder as root."""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
import tarfile
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from repx.errors import LabError
from repx.lab import images
from repx.lab.files import FolderFiles
from repx.lab.images import Image, Layer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from repx.lab.expand.writer import Writer
    from repx.lab.sources import Sources

_CHUNK: Final = 1 << 20


def read(path: Path, sources: Sources) -> Image:
    """Return the image in a file or folder. Raises LabError or OSError."""
    real = Path(os.path.realpath(path, strict=True))
    if real.is_file():
        sources.looks.at(real)
    if real.is_dir() and not any(
        (real / name).is_file() for name in ("manifest.json", "index.json")
    ):
        return _of_root(real)
    return images.read(FolderFiles(real.parent), real.name)


def place(image: Image) -> str:
    """Return an image's path in a Lab; RepX 0.5 requires this form of name."""
    return f"images/{image.digest}-repx-shared-image.tar"


def add(image: Image, writer: Writer) -> None:
    """Write the image as RepX 0.5 does: an unpacked docker archive, its layers in ``store/``."""
    folder = place(image)
    for layer in image.layers:
        name = f"store/{layer.sha256}-layer.tar"
        if name not in writer.files:  # images may share layers
            with layer.open() as stream:
                written = writer.file(name, iter(lambda s=stream: s.read(_CHUNK), b""))  # type: ignore[misc]  # mypy wants no default
            if written != layer.sha256:
                raise LabError(f"{image.path}: a layer is not what its configuration says")
        link = f"{folder}/{layer.sha256}/layer.tar"
        if link not in writer.files:  # an image may list a layer twice
            writer.link(link, f"../../../{name}", layer.sha256)
    config = f"{hashlib.sha256(image.config).hexdigest()}.json"
    writer.file(f"{folder}/{config}", [image.config])
    names = [f"{layer.sha256}/layer.tar" for layer in image.layers]
    manifest = [{"Config": config, "Layers": names, "RepoTags": None}]
    writer.file(f"{folder}/manifest.json", [json.dumps(manifest).encode()])


def _of_root(root: Path) -> Image:
    """Return a folder as an image of one layer: the same files give the same image."""
    counted = _Counted()
    _write(root, counted)
    layer = Layer(sha256=counted.digest.hexdigest(), size=counted.size, open=lambda: _packed(root))
    config = {
        "architecture": images.machine(),
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer.sha256}"]},
    }
    text = json.dumps(config, sort_keys=True).encode()
    return Image(
        path=str(root),
        digest=images.digest(text, [layer]),
        config=text,
        layers=(layer,),
        environment={},
    )


class _Counted:
    """A file that only keeps the size and the sha256 of what is written."""

    def __init__(self) -> None:
        self.size = 0
        self.digest = hashlib.sha256()

    def write(self, content: bytes) -> int:
        self.size += len(content)
        self.digest.update(content)
        return len(content)


@contextmanager
def _packed(root: Path) -> Iterator[BinaryIO]:
    with tempfile.TemporaryFile() as packed:
        _write(root, packed)
        packed.seek(0)
        yield packed


def _write(root: Path, stream: BinaryIO | _Counted) -> None:
    with tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT) as tar:  # type: ignore[call-overload]  # it only writes
        for path in _below(root):
            _pack(tar, path, os.path.relpath(path, root))


def _below(root: Path) -> Iterator[str]:
    for folder, folders, files in os.walk(root):
        folders.sort()
        linked = [name for name in folders if Path(folder, name).is_symlink()]
        if folder != os.fspath(root):
            yield folder
        for name in sorted((*files, *linked)):
            yield f"{folder}/{name}"


def _pack(tar: tarfile.TarFile, path: str, name: str) -> None:
    """Add a folder, a file or a link; skip other kinds, which do not belong in an image."""
    info = os.lstat(path)
    member = tarfile.TarInfo(name)
    member.mtime, member.mode = 1, stat.S_IMODE(info.st_mode)
    if stat.S_ISLNK(info.st_mode):
        member.type, member.linkname = tarfile.SYMTYPE, os.readlink(path)  # noqa: PTH115  # a str
    elif stat.S_ISDIR(info.st_mode):
        member.type = tarfile.DIRTYPE
    elif stat.S_ISREG(info.st_mode):
        content = Path(path).read_bytes()
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
        return
    else:
        return
    tar.addfile(member)
