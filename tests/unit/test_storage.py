"""One contract for every file system a store can be on."""

from __future__ import annotations

import fcntl
from io import BytesIO
from typing import TYPE_CHECKING

import pytest

from repx import storage
from repx.errors import RenderError, StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from repx.storage import Store

NAMES = ("plain", "spaces 'quotes' \"double\"", "new\nline")


@pytest.fixture(params=["local", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "local":
        yield storage.local(str(tmp_path / "a store"))
        return
    made = storage.over("memory", f"/{tmp_path.name}")
    yield made
    assert made.fs is not None
    made.fs.rm(made.root, recursive=True)


def mark(store: Store, job: str, *names: str) -> None:
    for name in names:
        store.write(f"outputs/{job}/repx/{name}", b'{"reason":"exit 3"}')


@pytest.mark.parametrize("name", NAMES)
def test_what_is_written_is_read_back(store: Store, name: str) -> None:
    store.write(f"folder/{name}", b"one")
    store.write(f"folder/{name}", b"two")

    assert store.read(f"folder/{name}") == b"two"
    assert store.names("folder") == [name]
    assert store.exists(f"folder/{name}")


def test_what_is_absent_is_none_and_no_error(store: Store) -> None:
    store.write("something", b"")

    assert store.read("nothing") is None
    assert store.read_text("nothing/below") is None
    assert store.names("nothing") == []
    assert not store.exists("nothing")


def test_markers_of_many_jobs_come_in_one_call_and_success_wins(store: Store) -> None:
    mark(store, "good", "SUCCESS")
    mark(store, "bad", "FAIL")
    mark(store, "both", "FAIL", "SUCCESS")
    mark(store, "other", "SUCCESS")
    store.write("outputs/started/repx/lock", b"")

    found = store.markers(["good", "bad", "both", "started", "never"])

    assert found == {"good": "SUCCESS", "bad": "FAIL", "both": "SUCCESS"}


def test_a_marker_deeper_than_the_job_is_not_the_jobs(store: Store) -> None:
    store.write("outputs/j/scatter/repx/SUCCESS", b"")

    assert store.markers(["j"]) == {}


def test_a_marker_says_why_and_a_foreign_one_says_nothing(store: Store) -> None:
    mark(store, "ours", "FAIL")
    store.write("outputs/empty/repx/FAIL", b"")
    store.write("outputs/odd/repx/FAIL", b"[1]")

    assert store.marker("ours", "FAIL") == {"reason": "exit 3"}
    assert store.marker("empty", "FAIL") == {}
    assert store.marker("odd", "FAIL") == {}
    assert store.marker("absent", "FAIL") == {}


def test_writing_leaves_no_part_behind(tmp_path: Path) -> None:
    store = storage.local(str(tmp_path))
    store.write("a/b", b"content", 0o755)

    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]
    assert (tmp_path / "a" / "b").stat().st_mode & 0o111


def test_a_new_folder_is_filled_with_files_and_modes(tmp_path: Path) -> None:
    store = storage.local(str(tmp_path))
    store.write_new("s/1", [("run.sh", b"#!", 0o755), ("jobs/a.sh", b"x", 0o644)])

    assert store.read("s/1/jobs/a.sh") == b"x"
    assert (tmp_path / "s/1/run.sh").stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("mistake", [OSError("full"), RenderError("template"), KeyboardInterrupt()])
def test_a_new_folder_that_cannot_be_completed_is_removed(
    mistake: BaseException, tmp_path: Path
) -> None:
    def files() -> Iterator[tuple[str, bytes, int]]:
        yield "jobs/a.sh", b"x", 0o644
        raise mistake

    wanted = StorageError if isinstance(mistake, OSError) else type(mistake)
    with pytest.raises(wanted):
        storage.local(str(tmp_path)).write_new("submissions/1", files())

    assert [] == list((tmp_path / "submissions").iterdir())


def test_a_file_that_cannot_be_completed_leaves_nothing(tmp_path: Path) -> None:
    class Interrupted(BytesIO):
        def read(self, _size: int | None = -1, /) -> bytes:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        storage.local(str(tmp_path)).write("a/b", Interrupted())

    assert [] == list((tmp_path / "a").iterdir())


def test_a_link_is_replaced(tmp_path: Path) -> None:
    store = storage.local(str(tmp_path))
    store.write("to", b"content")
    store.link("a/link", "nowhere")
    store.link("a/link", "../to")

    assert store.read("a/link") == b"content"


def test_a_file_where_a_folder_must_be_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    store = storage.local(str(tmp_path / "file"))

    with pytest.raises(StorageError, match="cannot write"):
        store.write("x", b"")
    with pytest.raises(StorageError, match="cannot write"):
        store.write_new("s", [("x", b"", 0o644)])


def test_a_lock_is_seen_while_it_is_held_and_not_after(tmp_path: Path) -> None:
    store = storage.local(str(tmp_path))
    store.write("lock", b"")

    with (tmp_path / "lock").open("r+b") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        assert store.locked("lock")

    assert not store.locked("lock")
    assert not store.locked("absent")
