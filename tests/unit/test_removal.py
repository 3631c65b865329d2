"""What is removed is what was looked at, whatever somebody puts in its place meanwhile."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

import pytest

from repx.places.tree import Tree

if TYPE_CHECKING:
    from pathlib import Path


def _fill(folder: Path) -> None:
    for name in ("a", "b/c", "b/d/e"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("mine\n")


def _names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize(
    ("place", "seen"), [("job", "out"), ("job/out", "out"), ("job/out/b", "b"), ("job/out/b", "c")]
)
def test_a_link_put_in_a_folder_s_place_leads_no_removal_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, seen: str
) -> None:
    """A neighbour exchanges a folder for a link right after repx has looked at it."""
    store, victim = tmp_path / "store", tmp_path / "victim"
    _fill(store / "job/out")
    _fill(victim)
    _fill(victim / "out")
    before = _names(victim)
    look = os.lstat
    exchanged: list[str] = []

    def look_and_exchange(path: Any, *, dir_fd: int | None = None) -> os.stat_result:  # noqa: ANN401
        found = look(path, dir_fd=dir_fd)
        if path == seen and not exchanged:
            exchanged.append(path)
            (store / place).rename(tmp_path / "before")
            (store / place).symlink_to(victim)
        return found

    monkeypatch.setattr(os, "lstat", look_and_exchange)
    with contextlib.suppress(OSError):  # a folder was moved meanwhile
        Tree(str(store)).remove(["job/out"])

    assert exchanged
    assert before == _names(victim)


def test_folders_that_their_owner_may_not_write_are_removed(tmp_path: Path) -> None:
    _fill(tmp_path / "job")
    for path in (tmp_path / "job").rglob("*"):
        path.chmod(0o555)

    Tree(str(tmp_path)).remove(["job", "nothing", "nothing/below"])

    assert [] == _names(tmp_path)


def test_folders_may_be_nested_by_the_thousand(tmp_path: Path) -> None:
    """Deeper than Python calls itself and than files may be open."""
    here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)

    Tree(str(tmp_path)).remove(["d"])

    assert [] == list(tmp_path.iterdir())
