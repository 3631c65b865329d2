"""What the files of every place do: many at a time, whole or not at all, through no link."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import stat
import subprocess
import time
from io import BytesIO
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repx.places import here, parts
from repx.places.carry import Rest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from repx.places import Files, Place

NAMES = ("plain", "spaces 'quotes' \"double\" $x", "new\nline", "-", "*", "é")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "a store's"


@pytest.fixture
def files(place: Place, root: Path) -> Files:
    return place.files(str(root))


def write(files: Files, key: str, content: bytes = b"x") -> None:
    files.write_many([(key, 0o644, content, "")])


@pytest.mark.parametrize("name", NAMES)
def test_what_is_written_is_read_back(files: Files, name: str) -> None:
    write(files, f"folder/{name}", b"one")
    write(files, f"folder/{name}", b"two")

    assert ({f"folder/{name}": b"two"}, {}) == files.read_many([f"folder/{name}"])
    assert [name] == files.names("folder")
    assert {f"folder/{name}": ("file", 3)} == files.kinds([f"folder/{name}"])


def test_what_is_absent_is_no_error(files: Files) -> None:
    write(files, "something")

    assert ({}, {}) == files.read_many(["nothing", "something/below"])
    assert [] == files.names("nothing")
    assert {} == files.kinds(["nothing"])
    assert (0, 0, b"") == files.tail("nothing", 0, 0)
    assert [] == files.locked(["nothing"])
    files.remove(["nothing", "nothing/below"])


def test_what_is_no_file_is_named_and_does_not_block(files: Files, root: Path) -> None:
    write(files, "file")
    os.mkfifo(root / "pipe")

    contents, problems = files.read_many(["pipe", "file"])

    assert {"file": b"x"} == contents
    assert ["pipe"] == list(problems)


def test_success_wins_and_deeper_markers_are_not_the_jobs(files: Files) -> None:
    for key in ("good/repx/SUCCESS", "bad/repx/FAIL", "both/repx/FAIL", "both/repx/SUCCESS"):
        write(files, f"outputs/{key}")
    write(files, "outputs/begun/scatter/repx/SUCCESS")

    found, problems = files.markers(["good", "bad", "both", "begun", "never"])

    assert {"good": "SUCCESS", "bad": "FAIL", "both": "SUCCESS"} == found
    assert {} == problems


def test_a_file_without_its_sum_stays_away(files: Files) -> None:
    good, bad = hashlib.sha256(b"good").hexdigest(), hashlib.sha256(b"bad").hexdigest()
    files.write_many([("a/good", 0o755, BytesIO(b"good"), good)])
    with pytest.raises(OSError, match="sha256"):
        files.write_many([("a/bad", 0o644, b"good", bad)])

    assert ["good"] == files.names("a")
    assert [] == files.names("incoming")
    wanted = {
        "a/good": (0o755, 4, good),
        "a/bad": (0o644, 4, bad),
    }
    assert ["a/good"] == files.holds(wanted)
    assert [] == files.holds({"a/good": (0o644, 4, good)})
    assert [] == files.holds({"a/good": (0o755, 4, bad)})


def test_a_source_that_breaks_off_leaves_nothing(files: Files) -> None:
    class Interrupted(BytesIO):
        def read(self, _size: int | None = -1, /) -> bytes:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        files.write_many([("a/b", 0o644, Interrupted(), "")])

    assert [] == [*files.names("a"), *files.names("incoming")]


BIG = b"0123456789abcdef" * (parts.LEAST_BYTES // 8)
FACTS = (0o644, len(BIG), hashlib.sha256(BIG).hexdigest())


def keep(root: Path, content: bytes, mode: int = 0o644) -> Path:
    """Leave the beginning of a file as a connection that broke leaves it."""
    kept = root / "incoming" / parts.name(mode, FACTS[2])
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_bytes(content)
    return kept


def go_on(files: Files, start: int, key: str = "big") -> None:
    rest = Rest(BytesIO(BIG[start:]), start)
    files.write_many([(key, FACTS[0], rest, FACTS[2])])


def test_what_is_there_of_a_big_file_is_not_written_again(files: Files, root: Path) -> None:
    kept = keep(root, BIG[:-5])

    assert {"big": len(BIG) - 5} == files.kept({"big": FACTS, "other": (*FACTS[:2], "0" * 64)})
    assert {} == files.kept({"program": (0o755, *FACTS[1:])})
    go_on(files, len(BIG) - 5)
    assert BIG == (root / "big").read_bytes()
    assert not kept.exists()
    assert {} == files.kept({"big": FACTS})


def test_what_is_there_and_wrong_is_found_by_the_sum(files: Files, root: Path) -> None:
    keep(root, b"x" + BIG[1:-5])
    with pytest.raises(OSError, match=r"sha256 is "):
        go_on(files, len(BIG) - 5)

    assert ["incoming"] == files.names("")
    assert [] == files.names("incoming")


def test_what_somebody_planted_is_not_continued(files: Files, root: Path, tmp_path: Path) -> None:
    """Neither a link, nor a file that has a second name elsewhere."""
    precious = tmp_path / "precious"
    precious.write_bytes(BIG[:-5])
    kept = keep(root, b"")
    for plant in (kept.symlink_to, kept.hardlink_to):
        kept.unlink()
        plant(precious)
        assert {} == files.kept({"big": FACTS})
        with pytest.raises(OSError, match="its beginning is gone"):
            go_on(files, len(BIG) - 5)
        keep(root, b"")
    assert BIG[:-5] == precious.read_bytes()
    assert "big" not in files.names("")


def test_a_beginning_that_is_gone_is_named(files: Files, root: Path) -> None:
    root.mkdir()
    with pytest.raises(OSError, match="its beginning is gone"):
        go_on(files, 5)


def test_a_folder_is_there_complete_or_not_at_all(files: Files, root: Path) -> None:
    def broken() -> Iterator[tuple[str, int, bytes]]:
        yield "jobs/a.sh", 0o644, b"x"
        raise KeyboardInterrupt

    files.write_new("s/1", [("run.sh", 0o755, b"#!"), ("jobs/a.sh", 0o644, b"x")])
    with pytest.raises(KeyboardInterrupt):
        files.write_new("s/2", broken())

    assert ["1"] == files.names("s")
    assert {"s/1/jobs/a.sh": 1, "s/1/run.sh": 2} == files.sizes(["s"])
    assert stat.S_IMODE((root / "s/1/run.sh").stat().st_mode) & 0o111


def test_nothing_is_written_through_a_link(files: Files, root: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "file").write_bytes(b"mine")
    write(files, "a/file")
    (root / "link").symlink_to(elsewhere)
    (root / "a/to").symlink_to(elsewhere / "file")

    with pytest.raises(OSError, match="link"):
        write(files, "link/file")
    with pytest.raises(OSError, match="link"):
        files.write_new("link/new", [("x", 0o644, b"")])
    with pytest.raises(OSError, match="link"):
        files.link_many({"link/x": "y"})
    with pytest.raises(OSError, match="link"):
        files.append("a/to", b"more")
    write(files, "a/to", b"replaced")
    files.remove(["link"])

    assert b"mine" == (elsewhere / "file").read_bytes()
    assert [elsewhere / "file"] == list(elsewhere.iterdir())
    assert not (root / "a/to").is_symlink()


def test_a_key_does_not_lead_out_of_the_folder(files: Files, tmp_path: Path) -> None:
    write(files, "a/b")
    for key in ("../x", "a/../../x", "a//b"):
        with pytest.raises(OSError, match="Invalid"):
            write(files, key)

    assert not (tmp_path / "x").exists()


def test_a_submission_folder_kept_elsewhere_is_written_to(files: Files, tmp_path: Path) -> None:
    write(files, "submissions/other")
    (tmp_path / "scripts").mkdir()
    files.link_many({"submissions/s": str(tmp_path / "scripts")})
    write(files, "submissions/s/ended")

    assert b"x" == (tmp_path / "scripts/ended").read_bytes()


@pytest.mark.parametrize(
    ("share", "folder", "file", "program"),
    [
        ("group", 0o2775, 0o664, 0o775),
        ("read", 0o755, 0o644, 0o755),
        ("private", 0o700, 0o600, 0o700),
    ],
)
def test_sharing_decides_the_modes_whatever_the_umask(
    place: Place, root: Path, share: str, folder: int, file: int, program: int
) -> None:
    before = os.umask(0o77)
    try:
        files = place.files(str(root), share)
        files.write_many([("a/file", 0o644, b"", ""), ("a/program", 0o755, b"", "")])
        files.write_new("s/1", [("jobs/x", 0o755, b""), ("jobs/secret", 0o700, b"")])
    finally:
        os.umask(before)

    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in [root, *root.rglob("*")]}
    assert {folder} == {mode for path, mode in modes.items() if path.is_dir()}
    assert file == modes[root / "a/file"]
    assert program == modes[root / "a/program"] == modes[root / "s/1/jobs/x"]
    assert 0o700 == modes[root / "s/1/jobs/secret"]


def test_the_end_of_a_file_is_followed_into_the_next_attempt(files: Files) -> None:
    write(files, "log", b"one\ntwo\n")
    inode, size, last = files.ending("log", 1)
    files.append("log", b"three\n")

    assert (8, b"two\n") == (size, last)
    assert (inode, 8, b"three\n") == files.tail("log", inode, size)
    write(files, "log", b"again\n")
    assert (0, b"again\n") == files.tail("log", inode, 14)[1:]
    assert b"again\n" == b"".join(files.chunks("log"))


def test_what_grows_is_told_with_the_end_of_its_writer(files: Files, root: Path) -> None:
    """Before it has begun a writer has not ended; it has when its lock or a marker is left."""
    write(files, "job/log", b"one\n")
    over, inode, start, content = files.grown("job/log", (0, 0), "job/lock")
    assert (False, 0, b"one\n") == (over, start, content)
    write(files, "job/lock")
    with (root / "job" / "lock").open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        files.append("job/log", b"two\n")
        seen = files.grown("job/log", (inode, 4), "job/lock")
        assert (False, inode, 4, b"two\n") == seen
    assert (True, inode, 8, b"") == files.grown("job/log", (inode, 8), "job/lock")
    files.remove(["job/lock"])
    write(files, "job/FAIL")
    assert files.grown("job/log", (inode, 8), "job/lock")[0]


def test_a_writer_that_is_known_has_ended_with_its_process(files: Files) -> None:
    write(files, "job/log", b"one\n")
    with subprocess.Popen(["sleep", "60"]) as process:
        assert not files.grown("job/log", (0, 0), "job/lock", process.pid)[0]
        process.kill()
        _, inode, *_ = files.grown("job/log", (0, 0), "job/lock", process.pid)
        process.wait()
        assert files.grown("job/log", (inode, 4), "job/lock", process.pid)[0]


def test_a_lock_is_seen_while_it_is_held_and_not_after(files: Files, root: Path) -> None:
    write(files, "lock")
    write(files, "free")
    with (root / "lock").open("r+b") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        assert ["lock"] == files.locked(["lock", "free"])

    assert [] == files.locked(["lock", "free"])


def test_patterns_find_keys(files: Files) -> None:
    for key in ("j/scatter/repx/FAIL", "j/branch-1/step-a/repx/FAIL", "j/repx/FAIL"):
        write(files, f"outputs/{key}")

    found = files.glob(["outputs/j/scatter/repx/FAIL", "outputs/j/branch-*/step-*/repx/FAIL"])

    assert ["outputs/j/branch-1/step-a/repx/FAIL", "outputs/j/scatter/repx/FAIL"] == found


def test_what_a_killed_client_left_is_removed_after_a_day(files: Files, root: Path) -> None:
    for key in ("incoming/.old.part", "incoming/.new.part", "submissions/.half.part/plan.json"):
        write(files, key)
    write(files, "submissions/whole/plan.json")
    yesterday = time.time() - 25 * 3600
    for key in ("incoming/.old.part", "submissions/.half.part", "submissions/whole"):
        os.utime(root / key, (yesterday, yesterday))

    assert 2 == files.tidy(0)
    assert [".new.part"] == files.names("incoming")
    assert ["whole"] == files.names("submissions")


@given(st.lists(st.binary(max_size=30)), st.integers(min_value=0, max_value=40))
def test_the_end_is_as_many_lines_as_wanted(
    tmp_path_factory: pytest.TempPathFactory, parts: list[bytes], n: int
) -> None:
    root = tmp_path_factory.mktemp("tail")
    content = b"\n".join(part.replace(b"\r", b"") for part in parts)
    (root / "log").write_bytes(content)

    lines = re.findall(rb"[^\n]*\n|[^\n]+$", content)
    assert b"".join(lines[-n:] if n else []) == here.HERE.files(str(root)).ending("log", n)[2]


def test_the_end_of_a_big_file_crosses_blocks_and_stays_short(files: Files) -> None:
    write(files, "log", b"".join(b"%d %s\n" % (number, b"x" * 90) for number in range(5000)))
    found = files.ending("log", 3000)[2].splitlines()

    assert (3000, b"2000") == (len(found), found[0][:4])
    write(files, "log", b"x" * (80 << 20))
    assert len(files.ending("log", 5)[2]) <= 64 << 20
