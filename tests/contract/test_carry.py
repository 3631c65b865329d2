"""How results travel between the files of any two places: only the rest, whole, marker last."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
from io import BytesIO
from typing import TYPE_CHECKING

import pytest

from repx.places.carry import NEW, REPLACE, SOME, Rest
from repx.places.here import HERE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from repx.places import Files, Place

HOME = "outputs/j"
MARKER = f"{HOME}/repx/SUCCESS"
BIG = os.urandom(3 << 20)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return the folder that receives."""
    return tmp_path / "a store's"


@pytest.fixture
def files(place: Place, root: Path) -> Files:
    return place.files(str(root))


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """Return a store with one job: a file, a link to it, an empty folder, links out of it."""
    made = tmp_path / "sender"
    out = made / HOME / "out"
    (out / "empty").mkdir(parents=True)
    (made / HOME / "repx").mkdir()
    (out / "a b").write_bytes(BIG)
    (out / "a b").chmod(0o751)
    (out / "link").symlink_to("a b")
    (tmp_path / "input").write_text("of another job")
    (out / "away").symlink_to(tmp_path / "input")
    (out / "folder away").symlink_to(tmp_path)
    (made / MARKER).write_text("{}\n")
    os.mkfifo(out / "pipe")
    return made


@pytest.fixture
def sent(job: Path) -> Files:
    return HERE.files(str(job))


def send(source: Files, target: Files, how: str = NEW) -> tuple[int, list[str]]:
    listed = source.listing([HOME])
    keys = sorted(listed, key=lambda key: key == MARKER)
    begun = target.begun({key: size for key, (_, size) in listed.items()})

    def outgoing() -> Iterator[tuple[str, int, Rest, str]]:
        for key, mode, file in source.fetch(keys, begun):
            yield key, mode, file, ""

    return target.receive(how, outgoing())


def test_a_job_arrives_as_it_was(place: Place, job: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    assert (len(BIG) + 17, []) == send(place.files(str(job)), HERE.files(str(target)))
    out = target / HOME / "out"

    assert ["a b", "away", "empty", "link"] == sorted(each.name for each in out.iterdir())
    assert BIG == (out / "a b").read_bytes() == (out / "link").read_bytes()
    assert 0o751 == (out / "a b").stat().st_mode & 0o777
    assert "a b" == str((out / "link").readlink())
    assert (out / "empty").is_dir()
    assert not (out / "away").is_symlink()
    assert "of another job" == (out / "away").read_text()
    assert "{}\n" == (target / MARKER).read_text()


def test_the_sender_compares_what_the_receiver_has(place: Place, job: Path, root: Path) -> None:
    target = HERE.files(str(root))
    send(place.files(str(job)), target)
    (root / HOME / "out/a b").write_bytes(BIG[: 1 << 20])

    assert len(BIG) - (1 << 20) + 3 == send(place.files(str(job)), target, REPLACE)[0]
    assert BIG == (root / HOME / "out/a b").read_bytes()


def test_only_the_rest_of_a_file_is_sent_and_only_to_what_is_its_beginning(
    sent: Files, files: Files, root: Path
) -> None:
    send(sent, files)
    (root / MARKER).unlink()
    assert 3 == send(sent, files)[0]

    for begin, more in ((BIG[: 2 << 20], len(BIG) - (2 << 20)), (b"other", len(BIG))):
        (root / HOME / "out/a b").write_bytes(begin)
        assert more + 3 == send(sent, files, REPLACE)[0]
        assert BIG == (root / HOME / "out/a b").read_bytes()


def test_a_file_that_was_broken_off_goes_on(sent: Files, files: Files, root: Path) -> None:
    class Broken(BytesIO):
        def read(self, _size: int | None = -1, /) -> bytes:
            if self.tell() >= 2 << 20:
                raise OSError(errno.EIO, "pulled the plug")
            return super().read(1 << 20)

    with pytest.raises(OSError, match="pulled the plug"):
        files.receive(NEW, [(f"{HOME}/out/a b", 0o444, Rest(Broken(BIG)), "")])
    assert {} == files.markers(["j"])[0]
    assert not (root / HOME / "out/a b").exists()
    (part,) = (root / "incoming").iterdir()
    assert 0 < part.stat().st_size < len(BIG)
    there = part.stat().st_size

    assert len(BIG) - there + 17 == send(sent, files)[0]
    assert BIG == (root / HOME / "out/a b").read_bytes()
    assert [] == files.names("incoming")


def test_what_a_failed_attempt_left_is_gone(sent: Files, files: Files, root: Path) -> None:
    out = root / HOME / "out"
    (out / "a b").mkdir(parents=True)
    (out / "a b" / "x").write_text("a folder where a file comes")
    (out / "empty").symlink_to(root)
    (out / "old").write_text("of the attempt before")
    (root / HOME / "repx").mkdir()
    (root / HOME / "repx/FAIL").write_text("{}\n")
    (root / HOME / "repx/lock").write_text("host 1\n")
    send(sent, files)

    assert ["a b", "away", "empty", "link"] == files.names(f"{HOME}/out")
    assert ["SUCCESS", "lock"] == files.names(f"{HOME}/repx")
    assert not (out / "empty").is_symlink()


def test_a_job_that_a_process_works_on_is_left_alone(sent: Files, files: Files, root: Path) -> None:
    (root / HOME / "repx").mkdir(parents=True)
    with (root / HOME / "repx/lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert (0, ["j"]) == send(sent, files)
        assert (0, ["j"]) == send(sent, files, SOME)

    assert ["lock"] == files.names(f"{HOME}/repx")
    assert [] == files.names(f"{HOME}/out")


def test_a_success_is_replaced_only_where_that_is_meant(
    sent: Files, files: Files, root: Path
) -> None:
    send(sent, files)
    (root / MARKER).write_text('{"ours":1}\n')
    assert ["j"] == send(sent, files, NEW)[1]
    assert '{"ours":1}\n' == (root / MARKER).read_text()
    assert [] == send(sent, files, REPLACE)[1]
    assert "{}\n" == (root / MARKER).read_text()


def test_some_files_make_no_job_look_begun(files: Files) -> None:
    files.receive(SOME, [(f"{HOME}/out/x", 0o644, b"1", "")])

    assert ["out"] == files.names(HOME)


@pytest.mark.parametrize("to", ["/etc", "../../k", "../../../x", ".."])
def test_a_link_out_of_the_job_is_refused(files: Files, to: str) -> None:
    with pytest.raises(OSError, match="leads out of its job"):
        files.receive(NEW, [(f"{HOME}/out/x", 0o120777, to.encode(), "")])


@pytest.mark.parametrize("key", [f"{HOME}/../k/x", f"{HOME}/..", "outputs/../../x", f"{HOME}//x"])
def test_a_key_out_of_the_store_is_refused(files: Files, key: str, root: Path) -> None:
    with pytest.raises(OSError, match="Invalid argument"):
        files.receive(SOME, [(key, 0o644, b"x", "")])
    assert not list(root.parent.rglob("x"))


def test_another_users_part_is_not_continued(files: Files, root: Path, tmp_path: Path) -> None:
    key = f"{HOME}/out/x"
    (root / "incoming").mkdir(parents=True)
    part = root / "incoming" / f".{hashlib.sha256(key.encode()).hexdigest()[:24]}.part"
    (tmp_path / "victim").write_text("mine")
    part.hardlink_to(tmp_path / "victim")
    files.receive(SOME, [(key, 0o644, b"new", "")])

    assert "mine" == (tmp_path / "victim").read_text()
    assert b"new" == files.read_many([key])[0][key]


def test_an_empty_success_of_repx_0_5_counts_where_it_arrives(
    job: Path, sent: Files, files: Files
) -> None:
    (job / MARKER).write_text("")

    for how in (NEW, REPLACE):
        send(sent, files, how)
        assert ({"j": "SUCCESS"}, {}) == files.markers(["j"])


def test_a_torn_success_of_ours_does_not_count_where_it_arrives(
    job: Path, sent: Files, files: Files
) -> None:
    (job / MARKER).write_text("{")

    send(sent, files)

    assert (set(), ["j"]) == (set(files.markers(["j"])[0]), list(files.markers(["j"])[1]))


def test_jobs_that_are_whole_count_although_the_rest_does_not_come(files: Files) -> None:
    def breaking() -> Iterator[tuple[str, int, bytes, str]]:
        yield MARKER, 0o644, b"{}\n", ""
        yield "outputs/k/out/x", 0o644, b"1", ""
        raise OSError(errno.EIO, "pulled the plug")

    with pytest.raises(OSError, match="pulled the plug"):
        files.receive(NEW, breaking())

    assert {"j": "SUCCESS"} == files.markers(["j", "k"])[0]
