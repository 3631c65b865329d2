"""Whether tampering is noticed, and what is not hashed again."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tarfile
import time
from typing import TYPE_CHECKING

import pytest

from repx.errors import LabError
from repx.lab.load import open_lab
from repx.lab.verify import Verdict, verify

if TYPE_CHECKING:
    from pathlib import Path

    from repx.lab.load import OpenLab

TOTAL = "jobs/06picx6cgcpvjhlv2nf0zgk8dl0sg19d-stage-c-total-1.0/bin/stage-c-total"


@pytest.fixture
def folder(labs: Path, tmp_path: Path) -> Path:
    """Return a Lab one may change, old enough for its time stamps to be trusted."""
    copy = tmp_path / "lab"
    shutil.copytree(labs / "simple-two-runs", copy, symlinks=True)
    for path in (copy, *copy.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755)
    time.sleep(0.06)  # the verdict on younger files is not kept
    return copy


def hashed(lab: OpenLab, cache: Path | None, *, full: bool = False) -> int:
    return verify(lab, cache=cache, full=full).hashed


@pytest.mark.parametrize("name", ["simple-two-runs", "sweep", "scatter-gather"])
def test_recorded_labs_are_intact(labs: Path, tmp_path: Path, name: str) -> None:
    with tarfile.open(tmp_path / "lab.tar", "w") as tar:
        tar.add(labs / name, arcname="result")

    for place in (labs / name, tmp_path / "lab.tar"):
        lab = open_lab(place)
        assert Verdict(listed=len(lab.lab.files), hashed=len(lab.lab.files) - 1) == verify(
            lab, cache=None
        )


def test_nothing_is_hashed_while_nothing_changes(folder: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache" / "verified"

    assert [17, 0, 0] == [hashed(open_lab(folder), cache) for _ in range(3)]
    assert 17 == hashed(open_lab(folder), cache, full=True)
    assert ["0vmj8n3ym606mnlh6xkr06bgb0dravrb.json"] == [path.name for path in cache.iterdir()]


def test_a_tar_is_not_hashed_again_either(folder: Path, tmp_path: Path) -> None:
    archive = tmp_path / "lab.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(folder, arcname=".")
    time.sleep(0.06)

    assert [17, 0] == [hashed(open_lab(archive), tmp_path / "cache") for _ in range(2)]


def test_a_changed_file_is_named_with_both_hashes(folder: Path, tmp_path: Path) -> None:
    lab = open_lab(folder)
    verify(lab, cache=tmp_path / "cache")
    content = (folder / TOTAL).read_bytes().replace(b"total", b"t0tal")
    before = (folder / TOTAL).stat()
    (folder / TOTAL).write_bytes(content)
    os.utime(folder / TOTAL, ns=(before.st_atime_ns, before.st_mtime_ns))

    with pytest.raises(LabError) as caught:
        verify(lab, cache=tmp_path / "cache")

    assert caught.value.message == (
        f"{folder / TOTAL}: is not what the Lab was built with\n"
        f"  expected sha256 {lab.lab.files[TOTAL]}\n"
        f"  actual   sha256 {hashlib.sha256(content).hexdigest()}"
    )


def test_a_file_changed_inside_a_tar_is_named(folder: Path, tmp_path: Path) -> None:
    (folder / TOTAL).write_bytes(b"#!/bin/sh\n")
    with tarfile.open(tmp_path / "lab.tar", "w") as tar:
        tar.add(folder, arcname="result")

    with pytest.raises(LabError, match=f"lab.tar:{TOTAL}: is not what"):
        verify(open_lab(tmp_path / "lab.tar"), cache=None)


def test_a_missing_file_is_named(folder: Path) -> None:
    (folder / TOTAL).unlink()

    with pytest.raises(LabError, match=f"{TOTAL}: No such file"):
        verify(open_lab(folder), cache=None)


def test_a_file_that_became_a_link_out_is_refused(folder: Path, tmp_path: Path) -> None:
    shutil.move(folder / TOTAL, tmp_path / "outside")
    (folder / TOTAL).symlink_to(tmp_path / "outside")

    with pytest.raises(LabError, match="leads out of the Lab"):
        verify(open_lab(folder), cache=None)


def test_a_fifo_in_the_place_of_a_file_does_not_hang(folder: Path) -> None:
    (folder / TOTAL).unlink()
    os.mkfifo(folder / TOTAL)

    with pytest.raises(LabError, match="not a regular file"):
        verify(open_lab(folder), cache=None)


def test_a_manifest_that_expects_something_else_is_not_excused_by_the_cache(
    folder: Path, tmp_path: Path
) -> None:
    verify(open_lab(folder), cache=tmp_path / "cache")
    manifest = folder / "lab/lab-metadata.json"
    document = json.loads(manifest.read_bytes())
    document["files"][0]["sha256"] = "0" * 64
    manifest.write_text(json.dumps(document), encoding="utf-8")

    with pytest.raises(LabError, match="expected sha256 0000"):
        verify(open_lab(folder), cache=tmp_path / "cache")


def test_a_verdict_on_files_just_written_is_not_kept(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They could change once more without a change of their time stamps."""
    lab = open_lab(folder)
    newest_ns = max(lab.files.fingerprint(path)[2] for path in lab.lab.files)
    monkeypatch.setattr(time, "time_ns", lambda: newest_ns + 1_000_000)

    assert [17, 17] == [hashed(lab, tmp_path / "cache") for _ in range(2)]


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\xff", b'{"seal": 1}', b"[" * 100_000])
def test_a_broken_verdict_is_only_ignored(folder: Path, tmp_path: Path, content: bytes) -> None:
    lab = open_lab(folder)
    (tmp_path / f"{lab.lab.id}.json").write_bytes(content)

    assert 17 == hashed(lab, tmp_path)
    assert 0 == hashed(lab, tmp_path)


def test_a_cache_that_cannot_be_written_is_only_ignored(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    assert [17, 17] == [hashed(open_lab(folder), tmp_path / "file" / "cache") for _ in range(2)]


def test_many_links_to_one_file_cost_one_hash(folder: Path) -> None:
    manifest = folder / "lab/lab-metadata.json"
    document = json.loads(manifest.read_bytes())
    digest = hashlib.sha256((folder / TOTAL).read_bytes()).hexdigest()
    for number in range(50):
        (folder / f"link{number}").symlink_to(TOTAL)
        document["files"].append({"path": f"link{number}", "sha256": digest})
    manifest.write_text(json.dumps(document), encoding="utf-8")

    assert Verdict(listed=68, hashed=17) == verify(open_lab(folder), cache=None)
