"""Files that are values of a parameter: each is its own value and keeps its own name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from repx.errors import LabError
from repx.lab.build import build
from repx.lab.load import open_lab
from repx.lab.seen import Looks
from repx.lab.sources import SourceError, Sources, stored_label
from repx_py import Lab

if TYPE_CHECKING:
    from tests.unit.conftest import Repx

LAB_YAML: Final = """\
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
    source.write_text(LAB_YAML % pattern, encoding="utf-8")
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


def test_files_of_one_name_from_two_patterns_are_told_apart(tmp_path: Path) -> None:
    written(tmp_path, "train/x.csv", "train/y.csv")
    written(tmp_path, "test/x.csv")
    (tmp_path / "data/test/x.csv").write_text("other\n", encoding="utf-8")
    sources = Sources(looks=Looks(tmp_path))
    for pattern in ("data/train/*", "data/test/*"):
        sources.scan(pattern, folders=False)

    assert sorted(sources.own_names.values()) == ["data/test/x.csv", "data/train/x.csv", "y.csv"]


@pytest.fixture
def swept(tmp_path: Path) -> Path:
    """Return a Lab with one job for each of two files of equal content."""
    written(tmp_path, "iris.csv", "大阪.csv")
    source = tmp_path / "lab.yaml"
    source.write_text(LAB_YAML % "data/*", encoding="utf-8")
    return build(source, tmp_path / "result", lambda *_: None).path


def test_a_file_shows_and_filters_by_its_own_name(swept: Path, tmp_path: Path) -> None:
    lab = Lab.from_path(swept, store=tmp_path)

    assert len(lab.jobs(table="iris.csv")) == len(lab.jobs(table=Path("大阪.csv"))) == 1
    (job,) = lab.jobs(table__startswith="iris")
    assert job.params == job.effective_params == {"table": "iris.csv"}
    stored = job.definition.params["table"]
    assert isinstance(stored, str)
    assert stored.startswith("$lab/store/")


def test_a_data_frame_holds_own_names(swept: Path, tmp_path: Path) -> None:
    pytest.importorskip("pandas")

    frame = Lab.from_path(swept, store=tmp_path).jobs().to_dataframe()

    assert sorted(frame.table) == ["iris.csv", "大阪.csv"]


@pytest.mark.parametrize(
    "words",
    [
        ("list", "jobs"),
        ("list", "jobs", "-p", "table"),
        ("trace-params",),
        ("viz", "--show-params", "-o", "-"),
    ],
    ids=" ".join,
)
def test_commands_show_own_names(repx: Repx, swept: Path, words: tuple[str, ...]) -> None:
    said = repx(*words, "-l", swept)

    assert said.code == 0
    assert "iris.csv" in said.out
    assert "大阪.csv" in said.out
    assert "$lab" not in said.out


@pytest.mark.slow
def test_the_job_gets_the_stored_path(repx: Repx, swept: Path, tmp_path: Path) -> None:
    assert repx("run", "-l", swept).code == 0
    (tmp_path / "home").mkdir(exist_ok=True)

    for job in Lab.from_path(swept).jobs():
        assert (job.path / "o").read_text(encoding="utf-8") == "same\n"


def test_own_names_are_checked(swept: Path) -> None:
    top = swept / "revision/metadata-top.json"
    top.chmod(0o644)
    document = json.loads(top.read_text(encoding="utf-8"))
    top.write_text(json.dumps(document | {"own_names": {"a": 1}}), encoding="utf-8")

    with pytest.raises(LabError, match=r"field `own_names\.a`: expected a string"):
        open_lab(swept)


def test_a_plain_name_is_the_label_as_it_is() -> None:
    assert stored_label("iris.csv") == "iris.csv"


def test_a_name_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "caf\udce9.csv").write_text("x", encoding="utf-8")

    with pytest.raises(SourceError, match="is not UTF-8: rename it"):
        Sources(looks=Looks(folder=tmp_path)).scan("*.csv", folders=False)
