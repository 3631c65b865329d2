"""With ``durability: full``, SUCCESS comes after its outputs are on the disk, or not at all."""

from __future__ import annotations

import os
import re
import sys
from typing import TYPE_CHECKING, Final

import pytest

from repx import runner_code
from repx.runner import files
from tests.real.folders import HEADER, TOUCH, Folder, MakeFolder, Work, ended

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.real, pytest.mark.needs("strace")]

CALLS: Final = "fsync,fdatasync,syncfs,sync"
FLUSHED: Final = re.compile(r"(fsync|fdatasync|syncfs)\(\d+<([^>]*)>")
MARKED: Final = re.compile(r'rename.*"([^"]*/SUCCESS)"')
SPREAD: Final = Work(
    scatter=f'{HEADER}echo "[1]" >"$out/work_items.json"\n',
    steps={"one": (f"{HEADER}{TOUCH}", ())},
    body=f"{HEADER}{TOUCH}",
)
# What a job makes, what it declares of it, and what has to be on the disk, below `out`.
WORKS: Final = {
    "plain": (Work(), ("o.txt",)),
    "nested": (
        Work(
            body='mkdir -p "$out/a/b"\necho x >"$out/a/b/o.txt"\n',
            outputs={"o": "$out/a/b/o.txt"},
        ),
        ("a", "a/b", "a/b/o.txt"),
    ),
    "folder": (
        Work(body='mkdir -p "$out/a/b"\necho x >"$out/a/b/o.txt"\n', outputs={"o": "$out/a"}),
        ("a", "a/b", "a/b/o.txt"),
    ),
    "link": (
        Work(
            body='mkdir -p "$out/a"\necho x >"$out/a/1"\nln -s a/1 "$out/last"\n',
            outputs={"o": "$out/last"},
        ),
        ("a", "a/1"),
    ),
    "spread": (SPREAD, ("o.txt",)),
}


def _traced(made: Folder, job: str, how: str, *more: str) -> tuple[int, list[str]]:
    """Run a job to its end; return the exit code and what was flushed and renamed, in order."""
    record = made.base / "strace"
    words = ("strace", "-f", "-y", "-qq", "-o", str(record), "-e", f"trace={CALLS},/^rename", *more)
    if how == "bash":
        program: tuple[str, ...] = ("bash", str(made.path / "jobs" / f"{job}.sh"))
    else:
        start = runner_code.start(str(made.base))
        program = (sys.executable, "-I", "-S", start, str(made.path), "--quiet")
    code, _ = ended(made.start(*words, *program))
    return code, record.read_text().splitlines()


def _is_flushed(path: Path, before: list[str]) -> bool:
    for line in before:
        if re.search(r"\bsync\(\)", line):
            return True
        found = FLUSHED.search(line)
        if found and (found[1] == "syncfs" or found[2] == str(path)):
            return True
    return False


@pytest.mark.parametrize("how", ["agent", "bash"])
@pytest.mark.parametrize("kind", WORKS)
def test_outputs_and_their_folders_are_flushed_before_the_marker_is_named(
    folder: MakeFolder, kind: str, how: str
) -> None:
    work, wanted = WORKS[kind]
    made = folder({"job": work})

    code, lines = _traced(made, "job", how)

    assert 0 == code
    named = {found[1]: at for at, line in enumerate(lines) if (found := MARKED.search(line))}
    homes = [path.parent.parent for path in made.home("job").rglob("repx/SUCCESS")]
    assert {str(home / "repx/SUCCESS") for home in homes} == named.keys()
    for home in homes:
        before = lines[: named[str(home / "repx/SUCCESS")]]
        is_scatter = home.name == "scatter"
        below = ("work_items.json",) if is_scatter else wanted
        for path in (home, home / "out", *(home / "out" / name for name in below)):
            assert _is_flushed(path, before), path


@pytest.mark.parametrize("error", ["EIO", "ENOSPC", "EDQUOT", "EROFS"])
@pytest.mark.parametrize("how", ["agent", "agent, begun", "bash", "bash, folder"])
def test_what_the_disk_did_not_take_is_no_success(folder: MakeFolder, how: str, error: str) -> None:
    """The kernel tells of lost data once: whoever flushes again hears nothing of it."""
    works, _ = WORKS["folder" if "folder" in how else "plain"]
    made = folder({"job": works})
    if "begun" in how:
        made.record("job").mkdir(parents=True)

    inject = ("-e", f"inject=fsync,syncfs:error={error}:when=1")
    code, _ = _traced(made, "job", how.partition(",")[0], *inject)

    assert (1, ["FAIL"]) == (code, made.markers("job"))
    assert made.marker("job")["reason"].startswith("the disk did not take the outputs: ")
    assert not list(made.record("job").glob("*.part"))


@pytest.mark.parametrize("how", ["agent", "bash"])
def test_a_phase_that_the_disk_did_not_take_fails_its_job(folder: MakeFolder, how: str) -> None:
    made = folder({"job": SPREAD})

    code, _ = _traced(made, "job", how, "-e", "inject=fsync,syncfs:error=EIO:when=1")

    assert (1, ["FAIL"]) == (code, made.markers("job"))
    assert "scatter failed" == made.marker("job")["reason"]


def test_what_may_not_be_read_is_flushed_with_all_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root to become somebody who may not read")
    private = tmp_path / "folder"
    private.mkdir(mode=0o700)
    (private / "file").write_text("x")
    for above in (*tmp_path.parents[:-1], tmp_path):
        above.chmod(above.stat().st_mode | 0o055)
    calls: list[str] = []
    monkeypatch.setattr(os, "sync", lambda: calls.append("sync"))
    os.seteuid(65_534)
    try:
        files.flush(os.fsencode(private))
    finally:
        os.seteuid(0)

    assert calls
