"""What a store makes of the files at its place: markers as data, errors that name a way out."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

import pytest

from repx import store as stores
from repx.errors import RenderError, StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from repx.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return stores.local(str(tmp_path / "a store"))


def test_a_marker_says_why_and_a_foreign_one_says_nothing(store: Store) -> None:
    store.write("outputs/ours/repx/FAIL", b'{"reason":"exit 3"}')
    store.write("outputs/empty/repx/FAIL", b"")
    store.write("outputs/odd/repx/FAIL", b"[1]")
    store.write("outputs/deep/repx/FAIL", b"[" * 100_000)

    assert {"reason": "exit 3"} == store.marker("ours", "FAIL")
    for job in ("empty", "odd", "deep", "absent"):
        assert {} == store.marker(job, "FAIL")


@pytest.mark.parametrize("mistake", [OSError("full"), RenderError("template"), KeyboardInterrupt()])
def test_a_new_folder_that_cannot_be_completed_is_removed(
    store: Store, mistake: BaseException
) -> None:
    def files() -> Iterator[tuple[str, int, bytes]]:
        yield "jobs/a.sh", 0o644, b"x"
        raise mistake

    with pytest.raises(StorageError if isinstance(mistake, OSError) else type(mistake)):
        store.write_new("submissions/1", files())

    assert [] == store.names("submissions")


def test_a_file_where_a_folder_must_be_is_a_storage_error(store: Store) -> None:
    store.write("file", b"")

    with pytest.raises(StorageError, match=r"cannot write .*/file"):
        store.write("file/x", b"")
    with pytest.raises(StorageError, match=r"cannot write .*/file"):
        store.write_new("file/s", [("x", 0o644, b"")])
    assert store.read("file/x") is None


def test_what_cannot_be_read_is_named_and_passed_over(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    store.write("good", b"1")
    os.mkfifo(store.path("bad"))

    with caplog.at_level(logging.WARNING):
        assert {"good": b"1"} == store.read_many(["bad", "good", "absent"])
    assert [f"cannot read {store.path('bad')}: not a regular file; passed over"] == caplog.messages
