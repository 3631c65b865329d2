"""Images move to a store layer by layer, and only what it lacks; bytes and calls are counted."""

from __future__ import annotations

import hashlib
import os
from contextlib import contextmanager
from io import BytesIO
from typing import TYPE_CHECKING, Any, BinaryIO

import pytest

from repx import images, progress
from repx.errors import StorageError
from repx.lab.images import Image, Layer, digest
from repx.places import parts
from repx.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from repx.places import Place

SIZE = 100_000


class Counted:
    """The files of a place, whose calls are counted: each is one round trip."""

    def __init__(self, files: Any) -> None:  # noqa: ANN401  # whichever place's
        """Count nothing yet."""
        self.files = files
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  # a verb
        """Return a verb that counts."""
        verb = getattr(self.files, name)

        def call(*words: Any) -> Any:  # noqa: ANN401  # as the verb takes them
            self.calls.append(name)
            return verb(*words)

        return call if callable(verb) else verb


@pytest.fixture
def store(place: Place, tmp_path: Path) -> Store:
    root = str(tmp_path / "store")
    return Store(place, root, Counted(place.files(root)))


def layer_of(content: bytes, read: Callable[[], BinaryIO] | None = None) -> Layer:
    @contextmanager
    def opened() -> Iterator[BinaryIO]:
        yield read() if read else BytesIO(content)

    sum_ = hashlib.sha256(content).hexdigest()
    made: Callable[[], AbstractContextManager[BinaryIO]] = opened
    return Layer(sha256=sum_, size=len(content), open=made)


def image_of(layers: list[Layer]) -> Image:
    config = b"{}" + b" " * len(layers)
    return Image(
        path="x", digest=digest(config, layers), config=config, layers=tuple(layers), environment={}
    )


def layers() -> list[Layer]:
    return [layer_of(os.urandom(SIZE)) for _ in range(10)]


def sent(image: Image, store: Store) -> tuple[int, int]:
    """Send an image; return the bytes that moved and the round trips that it took."""
    counted: Any = store.files
    counted.calls.clear()
    channel = getattr(store.place, "channel", None)
    if channel:
        assert channel.introduction, "what connecting takes is not counted"
    before = (channel.round_trips, channel.traffic.sent_bytes) if channel else (0, 0)
    moved = images.send([image], store)
    if channel:
        trips = channel.round_trips - before[0]
        assert trips == len(counted.calls), "each call is one round trip over ssh"
        wire = channel.traffic.sent_bytes - before[1]
        assert moved.size_bytes <= wire <= moved.size_bytes + 10_000
    return moved.size_bytes, len(counted.calls)


def whole(image: Image, store: Store) -> bool:
    """Return whether each layer lies in the store as its digest says."""
    return all(
        hashlib.sha256(store.read(images.layer_key(layer)) or b"").hexdigest() == layer.sha256
        for layer in image.layers
    )


def test_only_changed_layers_move(store: Store) -> None:
    first = layers()
    image = image_of(first)
    sent(image, store)
    assert whole(image, store)

    assert (0, 1) == sent(image, store), "an unchanged image: 0 bytes, one round trip"

    changed = image_of([*first[:9], layer_of(os.urandom(SIZE))])
    moved, round_trips = sent(changed, store)

    assert 2 == round_trips
    assert SIZE <= moved < SIZE + 3000, "one layer of ten, the configuration and the manifest"
    assert whole(changed, store)


def test_an_upload_that_was_cut_off_is_done_again(store: Store, tmp_path: Path) -> None:
    content = os.urandom(SIZE)
    good = layers()

    class Ends:
        """A connection that ends in the middle of a layer."""

        done = False

        def read(self, size: int) -> bytes:
            if self.done:
                raise OSError(5, "the network is gone")
            self.done = True
            return content[: min(size, SIZE // 2)]

    broken = layer_of(content, Ends)  # type: ignore[arg-type]  # all that is read of a file
    with pytest.raises((StorageError, OSError)):
        images.send([image_of([good[0], broken])], store)
    place = tmp_path / "store/artifacts/store"
    assert [f"{good[0].sha256}-layer.tar"] == [path.name for path in place.iterdir()]

    image = image_of([good[0], layer_of(content)])
    moved, _ = sent(image, store)
    assert SIZE <= moved < SIZE + 3000
    assert whole(image, store)


def test_a_layer_that_lost_bytes_or_was_put_aside_moves_again(store: Store, tmp_path: Path) -> None:
    image = image_of(layers())
    sent(image, store)
    short, aside = (tmp_path / "store" / images.layer_key(layer) for layer in image.layers[:2])
    os.truncate(short, 7)
    aside.rename(f"{aside}.broken")  # as a node does that finds other bytes in it

    assert (2 * SIZE, 2) == sent(image, store)
    assert whole(image, store)


def test_a_layer_that_is_not_what_it_says_stays_away(store: Store, tmp_path: Path) -> None:
    other = layer_of(b"a" * SIZE, lambda: BytesIO(b"b" * SIZE))

    with pytest.raises(StorageError):
        images.send([image_of([other])], store)

    assert not (tmp_path / "store" / images.layer_key(other)).exists()
    assert not (tmp_path / "store/artifacts/images").exists()


def test_progress_is_told_in_bytes(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[int] = []

    @contextmanager
    def bar(_doing: str, total: int) -> Iterator[Callable[[int], None]]:
        assert 10 * SIZE == total
        yield told.append

    monkeypatch.setattr(progress, "_bars", [bar, bar])
    sent(image_of(layers()), store)

    assert 10 * SIZE == max(told)
    assert sorted(told) == told
    assert len(told) > len(layers())


def test_a_layer_whose_sending_broke_off_goes_on(store: Store, tmp_path: Path) -> None:
    """Only the rest of it moves, and it is whole."""
    content = os.urandom(parts.LEAST_BYTES + SIZE)
    layer = layer_of(content)
    image = image_of([layer])
    kept = tmp_path / "store" / "incoming" / parts.name(0o644, layer.sha256)
    kept.parent.mkdir(parents=True)
    kept.write_bytes(content[:-SIZE])
    moved, trips = sent(image, store)

    assert SIZE <= moved < SIZE + 10_000
    assert trips == 3
    assert whole(image, store)
    assert not kept.exists()
