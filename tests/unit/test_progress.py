"""What takes long says how far it is."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from repx import console, progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.unit.conftest import Repx


class Told:
    """A bar that keeps what it is told."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self.totals: dict[str, int] = {}
        self.done: list[int] = []
        self.open: list[str] = []

    @contextmanager
    def bar(self, what: str, total: int, **_: object) -> Iterator[Callable[[int], None]]:
        """Stand in for `console.bar`."""
        self.totals[what] = total
        self.open.append(what)
        yield self.done.append
        self.open.remove(what)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    bar = Told()
    monkeypatch.setattr(progress, "_bars", [])
    monkeypatch.setattr(console, "bar", bar.bar)
    return bar


def test_work_nobody_listens_to_is_just_done(told: Told) -> None:
    assert ["a", "b"] == list(progress.through(["a", "b"], "counting:"))
    assert {} == told.totals


def test_work_tells_how_many_are_done_before_each_one(told: Told) -> None:
    progress.listen(told.bar, told.bar)
    work = progress.through("abc", "counting:")

    assert ("a", [0], ["counting:"]) == (next(work), told.done, told.open)
    assert ["b", "c"] == list(work)
    assert ({"counting:": 3}, [0, 1, 2], []) == (told.totals, told.done, told.open)


def test_each_part_of_a_start_that_grows_with_the_lab_says_how_far_it_is(
    repx: Repx, told: Told, labs: Path, tmp_path: Path
) -> None:
    repx("render", "--lab", str(labs / "sweep"), "--output", str(tmp_path / "scripts"))

    assert told.totals == {
        "reading jobs:": 8,
        "looking at files:": 29,
        "checking files of the Lab:": 29,
        "looking at jobs:": 8,
        "planning jobs:": 8,
        "looking for programs:": 8,
        "sending:": told.totals["sending:"],
        "writing scripts:": 8,
    }
    assert told.totals["sending:"] == max(told.done) > 1000
