"""After a power cut every SUCCESS still stands beside whole outputs."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Final

import pytest

from tests.real.folders import Folder, MakeFolder, Work, ended, naming

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.real

CUTS: Final = 12
WHOLE: Final = "whole " * 200 + "\n"
WRITE: Final = (
    f'printf "%s\\n" "{WHOLE.strip()} " >"$out/o.txt"\n'
    'mkdir "$out/d"\ncp "$out/o.txt" "$out/d/x"\nsleep 0.05\n'
)


def _run(*words: object) -> None:
    subprocess.run(list(map(str, words)), check=True, capture_output=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Return the image of a file system that is mounted beside it, as Debian mounts ext4."""
    if os.geteuid() != 0 or not shutil.which("mkfs.ext4"):
        pytest.skip("mounting a file system needs root and mkfs.ext4")
    image, place = tmp_path / "disk", tmp_path / "store"
    place.mkdir()
    _run("truncate", "-s", "24M", image)
    _run("mkfs.ext4", "-q", "-F", image)
    _run("mount", "-o", "loop", image, place)
    yield image
    _run("umount", "--lazy", place)


def _held(image: Path, store: Path) -> bytes:
    """Return what the disk holds now: a copy while nothing is written to it."""
    writers = [pid for pid in naming(store) if pid != os.getpid()]
    for pid in writers:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
    held, again = b"", image.read_bytes()
    while held != again:
        held, again = again, image.read_bytes()
    for pid in writers:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
    return held


def _after_a_cut(held: bytes, after: Path) -> list[str]:
    """Mount what a disk held, as the next start of the machine finds it."""
    after.with_suffix(".image").write_bytes(held)
    after.mkdir(exist_ok=True)
    _run("mount", "-o", "loop", after.with_suffix(".image"), after)
    try:
        marked = [marker.parent.parent for marker in after.glob("outputs/*/repx/SUCCESS")]
        for home in marked:
            assert {WHOLE} == {(home / "out" / name).read_text() for name in ("o.txt", "d/x")}
    finally:
        _run("umount", after)
    return [home.name for home in marked]


def test_what_is_marked_is_on_the_disk(folder: MakeFolder, disk: Path, tmp_path: Path) -> None:
    """Outputs are files and folders; scripts are run by the agent and, once begun, by bash."""
    chance = random.Random(4)  # noqa: S311  # the same moments every time
    outputs = {"o": "$out/o.txt", "d": "$out/d"}
    works = {f"j{i:03}": Work(body=WRITE, outputs=outputs) for i in range(300)}
    made: Folder = folder(works, base=tmp_path / "store")
    for job in list(works)[::7]:
        made.record(job).mkdir(parents=True)
    agent = made.start_agent("-j3", "--quiet")
    seen = 0
    try:
        for _ in range(CUTS):
            time.sleep(chance.uniform(0.1, 0.9))
            held = _held(disk, made.base)
            seen = max(seen, len(_after_a_cut(held, tmp_path / "after")))
    finally:
        agent.terminate()
        ended(agent)

    assert seen > CUTS
