"""Files that are values of a parameter: each is its own value and keeps its own name."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import pytest

from repx.lab.build import build
from repx.lab.sources import SourceError, Sources, stored_label

if TYPE_CHECKING:
    from pathlib import Path

LAB: Final = """\
stages:
  read: {parameters: {table: null}, outputs: {o: $out/o}, run: 'cp "${parameters[table]}" o'}
pipelines: {p: [read]}
runs: {r: {parameters: {table: {files: "%s"}}}}
"""


def written(tmp_path: Path, *names: str) -> None:
    for name in names:
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("same\n", encoding="utf-8")


def own_names(tmp_path: Path, pattern: str = "data/*") -> tuple[list[str], int]:
    """Build a sweep over files; return their own names and the number of jobs."""
    source = tmp_path / "lab.yaml"
    source.write_text(LAB % pattern, encoding="utf-8")
    built = build(source, tmp_path / "result", lambda *_: None)
    text = (built.path / "revision/metadata-top.json").read_text(encoding="utf-8")
    top: dict[str, Any] = json.loads(text)
    return sorted(top["own_names"].values()), built.jobs


@pytest.mark.parametrize(
    "names",
    [
        ("東京.csv", "大阪.csv"),
        ("p q.csv", "p_q.csv"),
        (f"1{'x' * 110}.csv", f"2{'x' * 110}.csv"),
        ("é.csv", "e.csv", "É.csv"),
    ],
    ids=["not ascii", "space", "long", "accents"],
)
def test_files_of_equal_content_are_values_of_their_own(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    written(tmp_path, *names)

    assert (sorted(names), len(names)) == own_names(tmp_path)


def test_files_of_one_name_in_two_folders_are_told_apart(tmp_path: Path) -> None:
    written(tmp_path, "a/labels.csv", "b/labels.csv")

    assert (["a/labels.csv", "b/labels.csv"], 2) == own_names(tmp_path, "data/*/labels.csv")


def test_a_plain_name_is_the_label_as_it_is() -> None:
    assert stored_label("iris.csv") == "iris.csv"


def test_a_name_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "caf\udce9.csv").write_text("x", encoding="utf-8")

    with pytest.raises(SourceError, match="is not UTF-8: rename it"):
        Sources(folder=tmp_path).scan("*.csv", folders=False)
