"""A store as a file system of fsspec, here and over ssh; and how few round trips that takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import fsspec
import pytest

from repx.errors import StorageError
from repx.filesystem import StoreFileSystem
from repx.store import Store

if TYPE_CHECKING:
    from pathlib import Path

    from repx.places import Place


@pytest.fixture
def fs(place: Place, tmp_path: Path) -> StoreFileSystem:
    root = str(tmp_path / "a store's")
    made = StoreFileSystem(store=Store(place, root, place.files(root)))
    made.pipe({"outputs/j/out/a b": b"0123456789", "outputs/j/out/deep/c": b"c", "top": b""})
    return made


def test_folders_and_files_are_listed(fs: StoreFileSystem) -> None:
    assert ["incoming", "outputs", "top"] == fs.ls("", detail=False)
    assert {"name": "outputs/j", "size": 0, "type": "directory"} in fs.ls("/outputs/")
    assert ["outputs/j/out/a b", "outputs/j/out/deep/c"] == fs.find("outputs")
    assert {"name": "top", "size": 0, "type": "file"} == fs.info("top")
    assert ["outputs/j/out/a b"] == fs.glob("outputs/*/out/a*")
    assert fs.isdir("outputs/j/out")
    assert not fs.exists("no")
    assert [10, 1] == fs.sizes(["outputs/j/out/a b", "outputs/j/out/deep/c"])
    with pytest.raises(FileNotFoundError):
        fs.ls("no")


def test_files_are_read_whole_and_in_part(fs: StoreFileSystem) -> None:
    assert b"0123456789" == fs.cat("outputs/j/out/a b")
    assert b"345" == fs.cat_file("outputs/j/out/a b", 3, 6)
    assert b"789" == fs.cat_file("outputs/j/out/a b", -3)
    with fs.open("outputs/j/out/a b", "rb", block_size=4) as file:
        file.seek(5)
        assert b"567" == file.read(3)
    with fs.open("outputs/j/out/a b", "r") as text:
        assert "0123456789" == text.read()
    with pytest.raises(FileNotFoundError):
        fs.cat("no")


def test_a_file_appears_when_it_is_closed_and_not_where_its_writer_failed(
    fs: StoreFileSystem,
) -> None:
    with fs.open("new/file", "w") as file:
        file.write("text")
        assert not fs.exists("new/file")
    with pytest.raises(ZeroDivisionError), fs.open("new/half", "wb") as file:
        file.write(b"x" * (1 // 0))

    assert b"text" == fs.cat("new/file")
    assert not fs.exists("new/half")
    with pytest.raises(NotImplementedError, match="whole"):
        fs.open("new/file", "ab")


def test_files_and_folders_are_brought_put_and_removed(fs: StoreFileSystem, tmp_path: Path) -> None:
    fs.get("outputs/j/out", str(tmp_path / "here"), recursive=True)
    assert b"c" == (tmp_path / "here/deep/c").read_bytes()
    fs.put(str(tmp_path / "here"), "there", recursive=True)
    assert b"0123456789" == fs.cat("there/a b")
    fs.rm("there", recursive=True)
    assert not fs.exists("there/a b")
    with pytest.raises(FileNotFoundError):
        fs.get(["no"], [str(tmp_path / "x")])


def test_what_cannot_be_written_is_told(fs: StoreFileSystem) -> None:
    with pytest.raises(StorageError, match="cannot write"):
        fs.pipe({"../x": b""})


def test_a_url_names_a_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "targets.yaml").write_text("targets: {a: {base_path: s}, b: {base_path: t}}")
    with fsspec.open("repx://b/outputs/x", "w") as file:
        file.write("text")

    assert "text" == (tmp_path / "t/outputs/x").read_text()
    assert ["outputs/x"] == fsspec.filesystem("repx", target="b").find("outputs")
