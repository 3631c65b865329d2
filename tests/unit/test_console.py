"""What people see: tables that fit, colours on a terminal only, units they read."""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repx import console
from repx.status import State

JOB = "07jc6m1amxzha9qxqv99zbq74ymqbkfy-calc-1.0"
PATH = f"/a/very/long/{'path/' * 20}{JOB}/end"
HEADERS = ("job", "state", "took", "why")
ROWS = ((JOB, "failed", "3s", "a very long " + "reason " * 20), ("b", "running", 12, "x"))


class Terminal(io.StringIO):
    """A stdout that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@contextmanager
def a_terminal() -> Iterator[Terminal]:
    """Put a terminal of 80 columns in the place of stdout and stderr, within a test's body."""
    screen = Terminal()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", screen)
        patch.setattr(sys, "stderr", screen)
        patch.setenv("COLUMNS", "80")
        yield screen


@pytest.fixture(autouse=True)
def _plain() -> Iterator[None]:
    console.setup({"NO_COLOR": "1"})
    yield
    console.setup({"NO_COLOR": "1"})


def test_json_is_utf8_whatever_the_locale_and_the_names_of_files() -> None:
    written = io.BytesIO()
    latin = io.TextIOWrapper(written, encoding="latin-1", errors="backslashreplace")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", latin)
        console.json({"é": "東京", "no UTF-8": "caf\udce9", "half": "\ud800"})

    read = json.loads(written.getvalue().decode("utf-8"))
    assert read == {"é": "東京", "no UTF-8": "caf\ufffd", "half": "\ufffd"}


def test_table_in_a_pipe_is_whole_and_tab_separated(capsys: pytest.CaptureFixture[str]) -> None:
    console.table(HEADERS, ROWS)

    written = "".join("\t".join(map(str, row)) + "\n" for row in ROWS)
    assert written == capsys.readouterr().out


def test_table_on_a_terminal_fits_and_has_headings() -> None:
    with a_terminal() as terminal:
        console.table(HEADERS, ROWS)

    lines = terminal.getvalue().splitlines()
    assert ["JOB", "STATE", "TOOK", "WHY"] == lines[0].split()
    assert lines[1].startswith("07jc6m1amxzh-calc-1.0  failed     3s  a very long reason")
    assert lines[1].endswith("…")
    assert max(map(len, lines)) <= 80


def test_number_too_long_for_its_column_is_cut() -> None:
    with a_terminal() as terminal:
        console.table(("a", "b"), [("x" * 30, "1" * 60), ("y", "2")])

    assert max(map(len, terminal.getvalue().splitlines())) <= 80


def test_paths_in_the_last_column_stay_whole() -> None:
    with a_terminal() as terminal:
        console.table(("job", "output"), [(JOB, PATH), ("b", "(not executed)")])

    assert f"07jc6m1amxzh-calc-1.0  {PATH}" == terminal.getvalue().splitlines()[1]


CELL = st.text(max_size=200).filter(lambda text: not text.startswith("/"))


@given(
    st.lists(
        st.tuples(*[CELL] * 5),
        max_size=5,
    )
)
def test_any_table_fits_a_terminal_line_by_line(rows: list[tuple[str, ...]]) -> None:
    """Whatever the cells hold, each row is one line of at most 80 columns."""
    with a_terminal() as screen:
        console.table(("a", "b", "c", "d", "e"), rows)

    lines = screen.getvalue().split("\n")[:-1]
    assert len(rows) + 1 == len(lines)
    assert max(map(len, lines)) <= 80
    assert not any(re.search(r"[\x00-\x1f\x7f]", line) for line in lines)


@pytest.mark.parametrize(
    ("environment", "coloured"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True), ({"TERM": "dumb"}, False)],
    ids=str,
)
def test_colours_only_where_they_are_wanted(
    environment: dict[str, str],
    coloured: bool,  # noqa: FBT001  # a column of the table above
) -> None:
    console.setup(environment)

    with a_terminal() as terminal:
        console.table(("job", "state"), [("a", "failed")])

    assert coloured == ("\x1b[31mfailed\x1b[0m" in terminal.getvalue())


def test_no_colours_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    console.setup({})

    console.out(console.state("failed"))
    console.error("no")

    assert ("failed\n", "error: no\n") == capsys.readouterr()


def test_every_state_has_a_colour() -> None:
    assert set(State) <= console.STATE_COLOURS.keys()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0s"),
        (0, "0s"),
        (0.04, "0s"),
        (0.25, "0.2s"),
        (4.0, "4s"),
        (9.96, "10s"),
        (59.7, "1m"),
        (3784, "1h 3m 4s"),
        (86400, "1d"),
        (90061, "1d 1h 1m 1s"),
    ],
)
def test_durations_are_read_by_people(seconds: float, text: str) -> None:
    assert text == console.duration(seconds)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0B"),
        (512, "512B"),
        (999, "999B"),
        (1000, "1.0K"),
        (1536, "1.5K"),
        (20 << 20, "20M"),
        (1023 << 20, "1.0G"),
        (96 << 20, "96M"),
    ],
)
def test_sizes_are_read_by_people(count: int, text: str) -> None:
    assert text == console.size(count)


@given(st.integers(min_value=0, max_value=1 << 60))
def test_sizes_are_short_and_near(count: int) -> None:
    text = console.size(count)

    units = {unit: 1024**power for power, unit in enumerate("BKMGTPE")}
    assert len(text) <= 5
    assert abs(float(text[:-1]) * units[text[-1]] - count) <= 0.06 * count


def test_names_are_one_printable_line() -> None:
    assert r"a\nb\x1b[2Jc" == console.plain("a\nb\x1b[2Jc")


def test_names_are_short_on_a_terminal_only() -> None:
    with a_terminal():
        assert "07jc6m1amxzh-calc-1.0" == console.name(JOB)
    assert JOB == console.name(JOB)


def test_json_keeps_text_that_is_not_unicode(capsys: pytest.CaptureFixture[str]) -> None:
    console.json({"path": Path("é"), "none": None})

    assert '{\n  "path": "é",\n  "none": null\n}\n' == capsys.readouterr().out


def test_progress_is_silent_at_first_and_leaves_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    with a_terminal() as terminal, console.bar("checking", 10) as told:
        told(1)
        assert "" == terminal.getvalue()
        now = 2.0
        told(5)
        assert terminal.getvalue().endswith("checking 5/10 (50%), 2s left")

    assert terminal.getvalue().endswith("\r\x1b[K")


def test_what_is_said_amid_a_bar_stands_on_a_line_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    with a_terminal() as terminal, console.bar("checking", 10) as told:
        now = 2.0
        told(5)
        console.note("full")

    assert terminal.getvalue().endswith("2s left\r\x1b[Kfull\n")


def test_progress_in_a_pipe_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    with console.bar("checking", 10) as told:
        told(5)

    assert ("", "") == capsys.readouterr()
