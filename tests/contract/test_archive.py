"""What an archive does on every file system: has, put, get, delete; whole or not at all."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from repx import archive
from repx import store as stores
from repx.errors import StorageError

if TYPE_CHECKING:
    from pathlib import Path

    from repx.archive import Archive
    from repx.store import Store


@pytest.fixture(params=["local", "memory"])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Archive:
    url = {"local": f"{tmp_path}/it's kept", "memory": f"memory://{tmp_path}"}
    return archive.of(url[request.param])


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Return a store with one job that has succeeded."""
    made = stores.local(str(tmp_path / "store"))
    made.write("outputs/j/out/a b", b"result", 0o755)
    made.write("outputs/j/out/deep/FAIL", b"an output of this name")
    made.write("outputs/j/repx/lock", b"host 1")
    made.write("outputs/j/repx/SUCCESS", b"{}")
    return made


def test_what_was_put_is_got_elsewhere_with_who_made_it(
    kept: Archive, store: Store, tmp_path: Path
) -> None:
    kept.put("j", store)
    other = stores.local(str(tmp_path / "other"))
    entries = kept.has(["j", "k"])
    kept.get("j", entries["j"], other)

    assert ["j"] == list(entries)
    assert {"by", "host", "at"} <= entries["j"].keys()
    assert {"j": "SUCCESS"} == other.markers(["j"])
    assert b"result" == other.read("outputs/j/out/a b")
    assert other.exists("outputs/j/out/deep/FAIL")
    assert not other.exists("outputs/j/repx/lock")


def test_equal_results_are_one_pack_and_deleted_ones_are_gone(kept: Archive, store: Store) -> None:
    assert kept.put("j", store) == kept.put("j", store)
    assert 1 == len(kept.fs.ls(f"{kept.root}/packs"))
    kept.delete(["j", "never"])
    assert {} == kept.has(["j"])


def test_half_an_upload_is_no_entry(kept: Archive, store: Store) -> None:
    kept.put("j", store)
    path = f"{kept.root}/entries/j.json"
    kept.fs.pipe_file(path, kept.fs.cat_file(path)[:5])

    assert {} == kept.has(["j"])


def test_damaged_results_are_not_brought(kept: Archive, store: Store, tmp_path: Path) -> None:
    kept.put("j", store)
    (entry,) = kept.has(["j"]).values()
    kept.fs.pipe_file(f"{kept.root}/packs/{entry['sha256']}.tar.gz", b"other")
    other = stores.local(str(tmp_path / "other"))

    with pytest.raises(StorageError, match="damaged"):
        kept.get("j", entry, other)
    assert [] == other.names("outputs")


def test_an_entry_of_somebody_else_breaks_nothing(kept: Archive, store: Store) -> None:
    kept.put("j", store)
    kept.fs.pipe_file(f"{kept.root}/entries/k.json", json.dumps([1]).encode())

    assert ["j"] == list(kept.has(["j", "k"]))


def test_a_file_system_that_is_not_installed_is_named() -> None:
    with pytest.raises(StorageError, match="cannot open nosuch://x"):
        archive.of("nosuch://x")
