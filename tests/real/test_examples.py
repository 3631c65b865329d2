"""The examples do what their pages show: every command of a README, in order, in a fresh copy."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from xml.etree import ElementTree as ET

import pytest

from repx_py import Lab

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.needs("graphviz")  # every page draws its Lab

ROOT: Final = Path(__file__).parents[2]
EXAMPLES: Final = ROOT / "examples"
BLOCK: Final = re.compile(r"^```(console|python)\n(.*?)^```", re.MULTILINE | re.DOTALL)
SVG: Final = "{http://www.w3.org/2000/svg}"

# Rows of the table (an estimate has a mark in both panels), and three in the legend.
FIGURES: Final = (("compression", "plot", 45 + 3), ("monte_carlo", "convergence", 2 * 15 + 3))

# What differs from machine to machine, or with the time of day, and what stands for it.
VARYING: Final = (
    (re.compile(r"\b[0-9a-z]{32}-"), "ID-"),
    (re.compile(r"\bLab [0-9a-z]{12}\b"), "Lab ID"),
    (re.compile(r"/\S*/(?=store/outputs)"), ""),
    (re.compile(r"\bsubmission \d{8}-\d{6}-\w+"), "submission ID"),
    (re.compile(r"\bsent \d+ files?, \w+"), "sent files"),
    (re.compile(r"\b\d+(?:\.\d+)? s\b"), "N s"),
)
MEASURED: Final = (
    (re.compile(r" +\d+\.\d+(?= \|)"), " N"),
    (re.compile(r"\b(?:zlib|bz2|lzma) -\d"), "TOOL"),
)


@dataclass(frozen=True)
class Step:
    """A command of a page: what the page shows below it, and what it printed here."""

    command: str
    shown: str
    seen: str


@dataclass(frozen=True)
class Played:
    """An example after every command of its page."""

    folder: Path
    steps: tuple[Step, ...]

    def lab(self) -> Lab:
        return Lab.from_path(self.folder / "result", store=self.folder / "store")


def blocks(page: Path, language: str) -> list[str]:
    found = BLOCK.findall(page.read_text(encoding="utf-8"))
    return [text for kind, text in found if kind == language]


def commands(page: Path) -> Iterator[tuple[str, str]]:
    """Yield each command of a page with the output shown below it."""
    for block in blocks(page, "console"):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            yield command, output


def shell(command: str, folder: Path) -> str:
    """Run a command as a reader would: repx on PATH, no settings of the user's own."""
    env = {
        **{key: value for key, value in os.environ.items() if not key.startswith("XDG_")},
        "HOME": str(folder.parent),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, f"$ {command}\n{done.stdout}"
    return done.stdout


def play(name: str, home: Path) -> Played:
    folder = home / name
    mess = shutil.ignore_patterns("result", "store", ".repx", "__pycache__", "lab.svg")
    shutil.copytree(EXAMPLES / name, folder, ignore=mess)
    steps = [
        Step(command, shown, shell(command, folder))
        for command, shown in commands(folder / "README.md")
    ]
    return Played(folder, tuple(steps))


@pytest.fixture(scope="session")
def compression(tmp_path_factory: pytest.TempPathFactory) -> Played:
    return play("compression", tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="session")
def monte_carlo(tmp_path_factory: pytest.TempPathFactory) -> Played:
    return play("monte-carlo", tmp_path_factory.mktemp("home"))


def plain(text: str, *, measured: bool) -> str:
    """Return a text with all that may differ replaced."""
    for pattern, replacement in (*VARYING, *(MEASURED if measured else ())):
        text = pattern.sub(replacement, text)
    return text.strip()


def agree(step: Step, *, measured: bool) -> bool:
    """Compare what is shown with what was seen; a line ``...`` stands for any lines."""
    parts = plain(step.shown, measured=measured).split("...\n")
    pattern = "(?:.*\n)*?".join(map(re.escape, parts))
    return re.fullmatch(pattern, plain(step.seen, measured=measured)) is not None


def test_page_of_compression_shows_what_happens(compression: Played) -> None:
    for step in compression.steps:
        assert agree(step, measured=True), f"$ {step.command}\n{step.seen}"


def test_page_of_monte_carlo_shows_what_happens(monte_carlo: Played) -> None:
    for step in monte_carlo.steps:
        assert agree(step, measured=False), f"$ {step.command}\n{step.seen}"


def test_every_combination_is_measured_and_nothing_is_left_out(compression: Played) -> None:
    lab = compression.lab()
    (collect,) = lab.jobs(stage="collect")

    rows = collect.load_rows("results")

    assert {(row["kind"], row["tool"]) for row in rows} == {
        (kind, tool) for kind in ("text", "binary", "table") for tool in ("zlib", "bz2", "lzma")
    }
    assert set(Counter((row["kind"], row["tool"]) for row in rows).values()) == {5}
    assert all(float(row["ratio"]) > 1 for row in rows)
    assert len(lab.jobs(status="succeeded")) == len(lab.jobs())


def test_report_fits_a_terminal(compression: Played, monte_carlo: Played) -> None:
    for played in (compression, monte_carlo):
        for report in (played.folder / "store").glob("outputs/*/out/report.md"):
            lines = report.read_text(encoding="utf-8").splitlines()
            assert max(map(len, lines)) <= 80


@pytest.mark.parametrize(("example", "stage", "marks"), FIGURES)
def test_figure_holds_a_mark_per_row(
    example: str, stage: str, marks: int, request: pytest.FixtureRequest
) -> None:
    (job,) = request.getfixturevalue(example).lab().jobs(stage=stage)

    picture = ET.fromstring(job.load_text("plot"))  # noqa: S314  # our own file

    assert len(picture.findall(f"{SVG}path")) == marks


def test_intervals_hold_the_exact_price_as_often_as_they_say(monte_carlo: Played) -> None:
    (report,) = monte_carlo.lab().jobs(stage="convergence")

    rows = [line for line in report.load_text("table").splitlines() if line.startswith("| ")][1:]

    assert len(rows) == 15
    assert sum("yes" in row for row in rows) >= 13


def test_analysis_page_runs_as_it_stands(
    compression: Played, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pandas")
    monkeypatch.chdir(compression.folder)
    monkeypatch.setenv("HOME", str(compression.folder.parent))
    names: dict[str, object] = {}

    for block in blocks(ROOT / "docs" / "analyse.md", "python"):
        exec(compile(block, "docs/analyse.md", "exec"), names)  # noqa: S102  # our own page

    assert "row.json" in capsys.readouterr().out


def test_demo_shows_every_step(tmp_path: Path) -> None:
    shown = shell(f"{EXAMPLES}/demo.sh demo", tmp_path)

    assert "114/114 ok" in shown
    assert "30/30 ok" in shown
    assert "| lzma |     9 |" in shown
    pasted = shown[shown.index("Look around:\n") + 13 :]
    done = subprocess.run(
        ["bash", "-euc", pasted],
        cwd=tmp_path,
        env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "-plot-1.0/out" in done.stdout
