"""One contract for the files of a Lab, whether it is a folder or any kind of tar."""

from __future__ import annotations

import os
import tarfile
from typing import TYPE_CHECKING, Final

import pytest

from repx.errors import LabError
from repx.lab.files import FolderFiles, Kind, fault
from repx.lab.tar import TarFiles

if TYPE_CHECKING:
    from pathlib import Path

    from repx.lab.files import LabFiles

FORMATS: Final = {
    "ustar": tarfile.USTAR_FORMAT,
    "gnu": tarfile.GNU_FORMAT,
    "pax": tarfile.PAX_FORMAT,
}
PLACES: Final = [
    "folder",
    *(f"{name}:{prefix}" for name in FORMATS for prefix in ("", "result", "a/b c")),
    "gnu:.",
]
LONG: Final = "store/" + "n" * 90


def fill(root: Path) -> None:
    """Make a small Lab: files, links to files and folders, hard links, a long path."""
    for folder in ("lab", "jobs/j/bin", "store", "empty", f"{LONG}/deep"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "lab/lab-metadata.json").write_text("{}", encoding="utf-8")
    (root / "store/tool").write_bytes(b"tool\n")
    (root / "store/tool").chmod(0o755)
    (root / "store/data \u00e9").write_bytes(b"x" * 100_000)
    (root / f"{LONG}/deep/file").write_bytes(b"far down")
    (root / "jobs/j/bin/run").symlink_to("../../../store/tool")
    (root / "jobs/linked").symlink_to("j")
    (root / "store/first").symlink_to("second")
    (root / "store/second").symlink_to("tool")
    (root / "store/dangling").symlink_to("nothing")
    os.link(root / "store/tool", root / "store/twin")


def pack(source: Path, archive: Path, kind: str) -> None:
    form, prefix = kind.split(":")
    with tarfile.open(archive, "w", format=FORMATS[form]) as tar:
        tar.add(source, arcname=prefix or "/")


@pytest.fixture(params=PLACES)
def files(request: pytest.FixtureRequest, tmp_path: Path) -> LabFiles:
    root = tmp_path / "lab with 'quotes'"
    fill(root)
    if request.param == "folder":
        return FolderFiles(root.resolve())
    archive = tmp_path / "lab.tar"
    pack(root, archive, request.param)
    return TarFiles(archive)


def test_contents_are_read_through_every_kind_of_link(files: LabFiles) -> None:
    for path in ("store/tool", "jobs/j/bin/run", "jobs/linked/bin/run", "store/first"):
        assert b"tool\n" == files.read(path)
    assert b"tool\n" == files.read("store/twin")
    assert b"far down" == files.read(f"{LONG}/deep/file")
    assert 100_000 == files.size("store/data \u00e9")


def test_an_open_file_can_be_read_in_pieces_and_again(files: LabFiles) -> None:
    with files.open("store/tool") as file:
        assert b"to" == file.read(2)
        assert b"ol\n" == file.read()
        file.seek(0)
        assert b"tool\n" == file.read()
        file.seek(-2, os.SEEK_END)
        assert b"l\n" == file.read()


def test_resolve_tells_where_links_lead(files: LabFiles) -> None:
    assert "store/tool" == files.resolve("jobs/linked/bin/run")
    assert "jobs/j" == files.resolve("jobs/linked")
    assert "store/nothing" == files.resolve("store/dangling")
    assert "" == files.resolve("jobs/..")


def test_kind_does_not_follow_the_last_link(files: LabFiles) -> None:
    assert Kind.FILE is files.kind("store/tool")
    assert Kind.FILE is files.kind("store/twin")
    assert Kind.LINK is files.kind("jobs/linked")
    assert Kind.LINK is files.kind("jobs/linked/bin/run")
    assert Kind.DIR is files.kind("jobs/linked/bin")
    assert Kind.DIR is files.kind("jobs/j/")
    assert Kind.DIR is files.kind("")
    assert files.kind("store/none") is None
    assert files.kind("store/tool/none") is None


def test_names_are_sorted_and_complete(files: LabFiles) -> None:
    assert ["empty", "jobs", "lab", "store"] == files.names("")
    assert ["j", "linked"] == files.names("jobs")
    assert ["run"] == files.names("jobs/linked/bin")
    assert [] == files.names("empty")


def test_walk_yields_files_and_links_but_enters_no_linked_folder(files: LabFiles) -> None:
    assert ["jobs/j/bin/run", "jobs/linked"] == list(files.walk("jobs"))
    assert "lab/lab-metadata.json" in list(files.walk(""))
    assert ["store/tool"] == list(files.walk("store/tool"))
    assert [] == list(files.walk("nowhere"))


def test_execute_bits_are_those_of_the_file_a_link_leads_to(files: LabFiles) -> None:
    assert files.is_executable("jobs/j/bin/run")
    assert not files.is_executable("lab/lab-metadata.json")


@pytest.mark.parametrize("path", ["store/none", "store/dangling", "jobs/j", "store/tool/x"])
def test_what_is_no_regular_file_cannot_be_read(files: LabFiles, path: str) -> None:
    with pytest.raises(LabError, match=path):
        files.read(path)


@pytest.mark.parametrize("path", ["..", "jobs/../../x", "store/tool/../../.."])
def test_no_path_leads_out(files: LabFiles, path: str) -> None:
    with pytest.raises(LabError, match="leads out of the Lab"):
        files.read(path)


def test_a_fingerprint_is_the_same_twice(files: LabFiles) -> None:
    assert files.fingerprint("store/tool") == files.fingerprint("store/tool")
    with pytest.raises(LabError, match="store/none"):
        files.fingerprint("store/none")


def test_a_folders_fingerprint_changes_with_the_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"a")
    before = FolderFiles(tmp_path).fingerprint("file")
    (tmp_path / "file").write_bytes(b"ab")

    assert before != FolderFiles(tmp_path).fingerprint("file")


@pytest.mark.parametrize(
    "target",
    ["/etc/hostname", "../../outside", "..", "loop", "/proc/self/root/etc/hostname"],
)
def test_a_folders_links_lead_nowhere_else(tmp_path: Path, target: str) -> None:
    root = tmp_path / "lab"
    root.mkdir()
    (tmp_path / "outside").write_bytes(b"secret")
    (root / "loop").symlink_to(target)
    files = FolderFiles(root.resolve())

    with pytest.raises(LabError, match=r"leads out of the Lab|links to follow"):
        files.read("loop")


def test_an_absolute_link_into_the_folder_itself_is_fine(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"inside")
    (tmp_path / "link").symlink_to(tmp_path / "file")

    assert b"inside" == FolderFiles(tmp_path.resolve()).read("link")


def test_a_fifo_is_refused_and_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    files = FolderFiles(tmp_path)

    with pytest.raises(LabError, match="neither a file, a directory nor a link"):
        files.kind("fifo")
    with pytest.raises(LabError, match="not a regular file"):
        files.read("fifo")


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("/etc/passwd", "is absolute"),
        ("a/../../b", "contains '..'"),
        ("..", "contains '..'"),
        ("", "is empty"),
        ("././", "is empty"),
        ("a\0b", "contains a NUL character"),
        ("a/" * 4000, "is 8,000 characters long, more than 4,096"),
        ("...", None),
        ("a/..b/c..", None),
        ("./a//b", None),
    ],
)
def test_paths_of_metadata_are_judged(path: str, problem: str | None) -> None:
    assert problem == fault(path)


def test_hostile_names_cannot_steer_the_terminal(tmp_path: Path) -> None:
    with pytest.raises(LabError) as caught:
        FolderFiles(tmp_path).read("\x1b[2Jboo")

    assert caught.value.message.isprintable()


def test_folders_nested_too_deep_are_refused(tmp_path: Path) -> None:
    deep = "/".join(["d"] * 120)
    (tmp_path / deep).mkdir(parents=True)

    with pytest.raises(LabError, match="more than 100 folders deep"):
        list(FolderFiles(tmp_path).walk(""))
