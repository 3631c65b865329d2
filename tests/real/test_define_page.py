"""Every lab.yaml in docs/define.md, and the starter project, build and run as the page says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

PAGE: Final = (Path(__file__).parents[2] / "docs/define.md").read_text(encoding="utf-8")
BLOCKS: Final[list[str]] = re.findall(r"^```\w+\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
LABS: Final = [block for block in BLOCKS if block.startswith("# lab.yaml")]
PROGRAM: Final = next(block for block in BLOCKS if block.startswith("#!/usr/bin/env python3"))

pytestmark = pytest.mark.real


def repx(folder: Path, *arguments: str) -> str:
    """Run a command and return what it said on stderr."""
    environment = {**os.environ, "XDG_DATA_HOME": os.fspath(folder / "data-home")}
    done = subprocess.run(
        [sys.executable, "-m", "repx", *arguments],
        cwd=folder, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stderr


def results(folder: Path, text: str) -> dict[str, list[str]]:
    """Build and run a lab.yaml; return what each stage wrote, by file name."""
    (folder / "data").mkdir()
    (folder / "lab.yaml").write_text(text, encoding="utf-8")
    (folder / "mean.py").write_text(PROGRAM, encoding="utf-8")
    (folder / "data/one line.csv").write_text("1\n", encoding="utf-8")
    (folder / "data/two.csv").write_text("1\n2\n", encoding="utf-8")
    assert "warning" not in repx(folder, "build")
    repx(folder, "run")
    found: dict[str, list[str]] = {}
    for path in (folder / "data-home").glob("repx/store/outputs/*/out/*"):
        found.setdefault(path.name, []).append(path.read_text(encoding="utf-8"))
    return {name: sorted(texts) for name, texts in found.items()}


def lab_with(words: str) -> str:
    (text,) = (each for each in LABS if words in each)
    return text


def test_first_experiment(tmp_path: Path) -> None:
    found = results(tmp_path, LABS[0])

    assert {name: len(texts) for name, texts in found.items()} == {
        "numbers.txt": 6,
        "total.txt": 6,
    }
    assert len(set(found["total.txt"])) == 6


def test_first_experiment_says_what_the_page_shows(tmp_path: Path) -> None:
    """Only the Lab's id differs: it covers the version of repx."""
    (tmp_path / "lab.yaml").write_text(LABS[0], encoding="utf-8")
    (shown,) = (block for block in BLOCKS if block.startswith("$ repx build"))

    said = "".join(f"$ repx build\n{repx(tmp_path, 'build')}" for _ in range(2))

    assert re.sub(r"Lab \w+", "Lab", shown) == re.sub(r"Lab \w+", "Lab", said)


def test_python_stage(tmp_path: Path) -> None:
    found = results(tmp_path, lab_with("mean.py"))

    assert found["mean-of-large.csv"] == ["large,5.5\n"]
    assert found["mean-of-small.csv"] == ["small,5.5\n"]


def test_explicit_wiring(tmp_path: Path) -> None:
    assert results(tmp_path, lab_with("[one, value, left]"))["sum.txt"] == ["3\n"]


def test_scans_zips_and_dependencies(tmp_path: Path) -> None:
    """Two files, two units, two seeds; the second run's jobs wait, so they are its own."""
    found = results(tmp_path, lab_with('{files: "data/*.csv"}'))

    by_lines, by_bytes = ["1\n", "2\n", "8\n", "9\n"], ["2000\n", "2007\n", "4000\n", "4007\n"]
    assert found["count.txt"] == sorted([*by_lines, *by_bytes, "1\n", "2\n"])


def test_scatter_gather(tmp_path: Path) -> None:
    assert results(tmp_path, lab_with("work__items"))["total.txt"] == ["70\n"]


def test_every_lab_of_the_page_is_run() -> None:
    assert len(LABS) == 5


def test_starter_project_runs(tmp_path: Path) -> None:
    repx(tmp_path, "init", "starter")
    folder = tmp_path / "starter"

    repx(folder, "build")
    repx(folder, "run")

    (table,) = folder.glob("data-home/repx/store/outputs/*-table-1.0/out/table.csv")
    lines = table.read_text(encoding="utf-8").splitlines()
    assert lines[0] == "sides,throws,seed,mean,error"
    assert len(lines) == 1 + 18
