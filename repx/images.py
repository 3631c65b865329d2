"""Send missing layers of images to a store: each layer once, even if images and Labs share it."""

from __future__ import annotations

import json
import shutil
import tempfile
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, cast

from repx import progress
from repx.places.carry import Rest
from repx.transfer import ARTIFACTS, Sent

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from repx.lab.images import Image, Layer
    from repx.places import Outgoing
    from repx.store import Store

IMAGE_NAME: Final = "repx/image"
_PLAIN: Final = 0o644
_LONGEST_UNPACK_S: Final = 3600
_CHUNK: Final = 1 << 20


def unpack(packed: BinaryIO) -> Path | None:
    """Unpack zstd into a new file, for `repx.lab.images.read`; None if zstd is not installed."""
    from repx.errors import CommandNotFoundError
    from repx.places.command import run

    with tempfile.NamedTemporaryFile(suffix=".zst") as whole:
        shutil.copyfileobj(packed, whole)
        whole.flush()
        with tempfile.NamedTemporaryFile(suffix=".tar", delete=False) as unpacked:
            place = Path(unpacked.name)
        try:
            run(["zstd", "-dqf", whole.name, "-o", str(place)], timeout_s=_LONGEST_UNPACK_S)
        except CommandNotFoundError:
            place.unlink()
            return None
        except BaseException:
            place.unlink()
            raise
    return place


def layer_key(layer: Layer) -> str:
    """Return the key of a layer in a store."""
    return f"{ARTIFACTS}/store/{layer.sha256}-layer.tar"


def missing(wanted: Iterable[Image], sizes: Mapping[str, int]) -> list[Layer]:
    """Return the layers that a store lacks or has only in part; ``sizes`` are its sizes by key.

    A layer of the right size may still be broken: the node that unpacks a layer checks every byte
    and moves a broken layer aside.
    """
    layers = {layer_key(layer): layer for image in wanted for layer in image.layers}
    return [layer for key, layer in layers.items() if sizes.get(key) != layer.size]


def send(wanted: Iterable[Image], store: Store) -> Sent:
    """Copy missing parts of images to the store, in three round trips, or one if none is missing.

    Raises StorageError when the store cannot be written.
    """
    by_digest = {image.digest: image for image in wanted}
    if not by_digest:
        return Sent()
    layers = {layer_key(layer) for image in by_digest.values() for layer in image.layers}
    there = store.sizes_of([*layers, *map(_manifest_key, by_digest)])
    lacking = missing(by_digest.values(), there)
    new = [image for digest, image in by_digest.items() if _manifest_key(digest) not in there]
    if not lacking and not new:
        return Sent()
    kept = store.kept({layer_key(each): (_PLAIN, each.size, each.sha256) for each in lacking})
    total = sum(layer.size for layer in lacking) - sum(kept.values())
    layer_files = progress.in_bytes(_layers(lacking, kept), total, "sending layers of images:")
    size = store.write_many(chain(layer_files, *map(_archive, new)))
    return Sent(files=len(lacking) + 2 * len(new), size_bytes=size)


def _layers(layers: list[Layer], kept: Mapping[str, int]) -> Iterator[Outgoing]:
    """Yield the layers, without what is there already of those whose sending broke off."""
    for layer in layers:
        key = layer_key(layer)
        with layer.open() as stream:
            start = left = kept.get(key, 0)
            while left > 0 and (skipped := stream.read(min(left, _CHUNK))):
                left -= len(skipped)
            yield key, _PLAIN, cast("BinaryIO", Rest(stream, start)), layer.sha256


def _archive(image: Image) -> Iterator[Outgoing]:
    """Yield the files that make the layers a docker archive; the manifest comes last."""
    entry = {
        "Config": "config.json",
        "RepoTags": [f"{IMAGE_NAME}:{image.digest}"],
        "Layers": [layer_key(layer).rpartition("/")[2] for layer in image.layers],
    }
    manifest = _manifest_key(image.digest)
    yield manifest.replace("manifest", "config"), _PLAIN, image.config, ""
    yield manifest, _PLAIN, json.dumps([entry]).encode(), ""


def _manifest_key(digest: str) -> str:
    return f"{ARTIFACTS}/images/{digest}/manifest.json"
