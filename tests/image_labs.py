"""Labs with images, made from what every machine of the tests has: busybox and a static bash."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tarfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

BUSYBOX = Path("/usr/bin/busybox")
BASH = Path("/bin/bash-static")
IMAGE = "images/0abc-repx-shared-image.tar"
Content = str | bytes | Path


def layer(
    files: Mapping[str, Content], links: Mapping[str, str] | None = None, *, mode: int = 0o755
) -> bytes:
    """Return a layer: files by name (a name that ends in / is a folder), and symbolic links."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name.rstrip("/"))
            member.mode = mode
            if name.endswith("/"):
                member.type = tarfile.DIRTYPE
                tar.addfile(member)
                continue
            data = content.read_bytes() if isinstance(content, Path) else content
            data = data.encode() if isinstance(data, str) else data
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
        for name, to in (links or {}).items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, to
            tar.addfile(member)
    return made.getvalue()


def shell_layer(bash: str = "bin/bash") -> bytes:
    """Return a layer with busybox's tools in /bin and bash at a path."""
    names = (
        "sh cat ls env sed grep find sleep id mkdir rm cp mv touch tr wc seq sort head tail cut "
        "awk hostname ps kill mount umount mknod chmod chown dirname basename expr printf stat ln "
        "true false date readlink test wget nc nsenter unshare ping du od realpath tee uname setsid"
    )
    files: dict[str, Content] = {"bin/": "", "usr/": "", "usr/bin/": "", "bin/busybox": BUSYBOX}
    folders = bash.split("/")[:-1]
    for depth in range(1, len(folders) + 1):
        files.setdefault("/".join(folders[:depth]) + "/", "")
    files[bash] = BASH
    links = {f"bin/{name}": "busybox" for name in names.split()}
    return layer(files, {**links, "usr/bin/env": "/bin/busybox"})


def write_image(
    lab: Path, layers: Iterable[bytes], environment: Iterable[str] = (), path: str = IMAGE
) -> None:
    """Write an image as RepX 0.5 does: an exploded docker archive, its layers in the store."""
    folder = lab / path
    sums = [hashlib.sha256(each).hexdigest() for each in layers]
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Env": list(environment)},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{each}" for each in sums]},
        }
    )
    name = hashlib.sha256(config.encode()).hexdigest()
    (lab / "store").mkdir(exist_ok=True)
    for content, digest in zip(layers, sums, strict=True):
        (lab / f"store/{digest}-layer.tar").write_bytes(content)
        (folder / digest).mkdir(parents=True, exist_ok=True)
        link = folder / digest / "layer.tar"
        link.unlink(missing_ok=True)
        link.symlink_to(f"../../../store/{digest}-layer.tar")
    (folder / f"{name}.json").write_text(config)
    manifest = [
        {
            "Config": f"{name}.json",
            "RepoTags": None,
            "Layers": [f"{each}/layer.tar" for each in sums],
        }
    ]
    (folder / "manifest.json").write_text(json.dumps(manifest))


def with_image(source: Path, lab: Path, layers: Iterable[bytes], path: str = IMAGE) -> Path:
    """Copy a Lab and give all its runs one image."""
    shutil.copytree(source, lab, symlinks=True)
    layers = list(layers)
    write_image(lab, layers, path=path)
    return set_image(lab, path)


def set_image(lab: Path, path: str | None = IMAGE) -> Path:
    """Name an image in the metadata of all runs of a Lab, and list the Lab's files anew."""

    def name_it(run: dict[str, object]) -> None:
        run["image"] = path

    for metadata in lab.glob("revision/metadata-*.json"):
        if metadata.name != "metadata-top.json":
            _edit(metadata, name_it)
    list_files(lab)
    return lab


def list_files(lab: Path) -> None:
    """Write the sums of a Lab's files into its manifest."""
    (manifest,) = lab.glob("lab/*lab-metadata.json")
    entries = [
        {
            "path": str(file.relative_to(lab)),
            "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        }
        for file in sorted(lab.rglob("*"))
        if file.is_file() and file != manifest
    ]

    def listed(document: dict[str, object]) -> None:
        document["files"] = entries

    _edit(manifest, listed)


def _edit(path: Path, change: Callable[[dict[str, object]], None]) -> None:
    document = json.loads(path.read_text())
    change(document)
    path.chmod(0o644)
    path.write_text(json.dumps(document))
