"""Why jobs are new: what changed since the Lab before, in the user's own words."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeAlias

import pytest

from repx.lab import compare, history
from repx.lab.build import build
from repx.lab.compare import Side
from repx.lab.expand import script
from repx.lab.load import open_lab

Repx: TypeAlias = Callable[..., Any]  # see conftest.py

LAB: Final = """\
stages:
  clean: {parameters: {table: null}, outputs: {c: $out/c}, script: clean.sh}
  fit:
    parameters: {model: svm, lr: 0.1}
    inputs: [c]
    outputs: {f: $out/f}
    script: fit.sh
    files: [helpers]
  report: {inputs: [f], outputs: {r: $out/r}, run: 'cp "${inputs[f]}" "${outputs[r]}"'}
pipelines: {main: [clean, fit, report]}
runs:
  sweep: {parameters: {table: {files: "data/*.csv"}, model: [svm, tree]}}
"""
FILES: Final = {
    "targets.yaml": "targets: {local: {base_path: store}}\n",
    "lab.yaml": LAB,
    "clean.sh": '#!/bin/sh\ncp "$0" c\n',
    "fit.sh": '#!/bin/sh\ncp "$0" f\n',
    "helpers/one": "1",
    "data/iris.csv": "iris",
    "data/mice.csv": "mice",
}
UPSTREAM: Final = "input changed: upstream"


def no_tool(argv: object, stdin: str) -> None:
    del argv, stdin


def written(folder: Path, files: dict[str, str]) -> Path:
    """Write files and build; return the Lab."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return build(folder / "lab.yaml", folder / "result", no_tool).path


@pytest.fixture
def first(tmp_path: Path) -> Path:
    return written(tmp_path, FILES)


def why(old: Path, new: Path) -> dict[str, int]:
    """Return how many jobs are new, by stage and reason."""
    opened = open_lab(new)
    found = compare.reasons(Side(opened=open_lab(old)), Side(opened=opened), opened.lab.jobs)
    groups = compare.grouped(opened.lab, found)
    return {f"{group.stage}: {group.reason}": len(group.jobs) for group in groups}


def yaml(old: str, new: str) -> dict[str, str]:
    assert LAB.count(old) == 1
    return {"lab.yaml": LAB.replace(old, new)}


CASES: Final[dict[str, tuple[dict[str, str], dict[str, int]]]] = {
    "comment": ({"lab.yaml": f"# note\n{LAB}"}, {}),
    "script": (
        {"fit.sh": "#!/bin/sh\n"},
        {
            "fit: script changed: fit.sh": 4,
            f"report: {UPSTREAM} fit (its script changed)": 4,
        },
    ),
    "file beside a script": (
        {"helpers/one": "2", "helpers/two": ""},
        {
            "fit: script changed: helpers/one, helpers/two (new)": 4,
            f"report: {UPSTREAM} fit (its script changed)": 4,
        },
    ),
    "first stage": (
        {"clean.sh": "#!/bin/sh\n"},
        {
            "clean: script changed: clean.sh": 2,
            f"fit: {UPSTREAM} clean (its script changed)": 4,
            f"report: {UPSTREAM} clean (its script changed)": 4,
        },
    ),
    "lines": (
        yaml('"${inputs[f]}" "', '-v "${inputs[f]}" "'),
        {"report: script changed: its `run:` lines": 4},
    ),
    "default": (
        yaml("lr: 0.1", "lr: 0.2"),
        {"fit: parameter lr: 0.1 → 0.2": 4, "report: parameter lr: 0.1 → 0.2": 4},
    ),
    "another kind of number": (
        yaml("lr: 0.1", "lr: true"),
        {"fit: parameter lr: 0.1 → true": 4, "report: parameter lr: 0.1 → true": 4},
    ),
    "new value": (
        yaml("[svm, tree]", "[svm, tree, gboost]"),
        {
            "fit: new combination: model=gboost": 2,
            "report: new combination: model=gboost": 2,
        },
    ),
    "value instead of another": (
        yaml("[svm, tree]", "[svm, gboost]"),
        {"fit: parameter model: tree → gboost": 2, "report: parameter model: tree → gboost": 2},
    ),
    "fewer values": (yaml("[svm, tree]", "[svm]"), {}),
    "new parameter": (
        yaml("lr: 0.1", "lr: 0.1, depth: 3"),
        {"fit: new parameter depth=3": 4, "report: new parameter depth=3": 4},
    ),
    "parameter gone": (
        yaml(", lr: 0.1", ""),
        {"fit: parameter lr is gone": 4, "report: parameter lr is gone": 4},
    ),
    "script and parameter": (
        yaml("lr: 0.1", "lr: 0.2") | {"fit.sh": "#!/bin/sh\n"},
        {
            "fit: script changed: fit.sh; parameter lr: 0.1 → 0.2": 4,
            "report: parameter lr: 0.1 → 0.2": 4,
        },
    ),
    "scanned file": (
        {"data/iris.csv": "other"},
        {
            "clean: file changed: iris.csv": 1,
            f"fit: {UPSTREAM} clean (its file changed)": 2,
            f"report: {UPSTREAM} clean (its file changed)": 2,
        },
    ),
    "new scanned file": (
        {"data/rats.csv": "rats"},
        {
            "clean: new combination: table=rats.csv": 1,
            "fit: new combination: table=rats.csv": 2,
            "report: new combination: table=rats.csv": 2,
        },
    ),
    "new stage": (
        yaml("pipelines: {main: [", "  end: {inputs: [r], run: ':'}\npipelines: {main: [end, "),
        {"end: new stage end": 4},
    ),
    "version": (
        yaml("  report: {", '  report: {version: "2", '),
        {"report: version changed: report-1.0 → report-2": 4},
    ),
    "outputs": (
        yaml("{r: $out/r}", "{r: $out/r.txt}"),
        {"report: script changed: its outputs": 4},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_new_job_has_its_reason(first: Path, tmp_path: Path, name: str) -> None:
    files, expected = CASES[name]

    assert expected == why(first, written(tmp_path, files))


def test_a_combination_of_known_values_is_told_by_what_varies(tmp_path: Path) -> None:
    zipped = "zip: [{table: [a, b], model: [svm, tree]}]"
    text = LAB.replace('parameters: {table: {files: "data/*.csv"}, model: [svm, tree]}', zipped)
    old = written(tmp_path, {**FILES, "lab.yaml": text})
    new = written(tmp_path, {"lab.yaml": text.replace("[svm, tree]", "[tree, svm]")})

    assert {
        "fit: new combination: table=a, model=tree",
        "fit: new combination: table=b, model=svm",
        "report: new combination: table=a, model=tree",
        "report: new combination: table=b, model=svm",
    } == {reason.replace("model=tree, table=a", "table=a, model=tree") for reason in why(old, new)}


def test_a_run_whose_jobs_changed_is_an_input(tmp_path: Path) -> None:
    text = f"""{LAB}  last: {{pipelines: [end], dependencies: {{sweep: soft}}}}
""".replace(
        "pipelines: {", "  end: {inputs: [metadata__sweep], run: ':'}\npipelines: {end: [end], "
    )
    text = text.replace("sweep: {parameters", "sweep: {pipelines: [main], parameters")
    old = written(tmp_path, {**FILES, "lab.yaml": text})
    new = written(tmp_path, {"lab.yaml": text.replace("[svm, tree]", "[svm]")})

    assert {"end: input changed: run sweep (its jobs changed)": 1} == why(old, new)


def test_a_script_of_another_version_of_repx_is_told_as_that(
    first: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("repx.lab.expand.script._BEGIN", "# another\n" + script._BEGIN)
    new = written(tmp_path, {})

    ours = "script changed: the part that repx writes"
    assert {f"clean: {ours}": 2, f"fit: {ours}": 4, f"report: {ours}": 4} == why(first, new)


# --- which Lab is the one before ----------------------------------------------------------------


def test_the_lab_before_is_the_last_that_was_run(first: Path, tmp_path: Path) -> None:
    link = tmp_path / "result"
    assert history.before(link) is None
    history.note_run(link)
    assert history.before(link) is None
    written(tmp_path, yaml("lr: 0.1", "lr: 0.2"))  # built, never run
    third = written(tmp_path, yaml("lr: 0.1", "lr: 0.3"))
    assert first == history.before(link)
    history.note_run(link)
    assert first == history.before(link)
    written(tmp_path, yaml("lr: 0.1", "lr: 0.4"))
    assert third == history.before(link)


def test_where_none_was_run_it_is_the_one_that_was_built(first: Path, tmp_path: Path) -> None:
    written(tmp_path, yaml("lr: 0.1", "lr: 0.2"))
    written(tmp_path, yaml("lr: 0.1", "lr: 0.2"))

    assert first == history.before(tmp_path / "result")


@pytest.mark.parametrize("content", ["{", "{}", "[1]", '["../../x", "", "gone"]'])
def test_an_odd_history_is_none(first: Path, tmp_path: Path, content: str) -> None:
    (tmp_path / ".repx/ran").mkdir()
    (tmp_path / ".repx/ran/result.json").write_text(content)
    written(tmp_path, yaml("lr: 0.1", "lr: 0.2"))

    assert first == history.before(tmp_path / "result")


# --- as people see it ---------------------------------------------------------------------------


@pytest.fixture
def project(first: Path, tmp_path: Path, repx: Repx) -> Path:
    """Return a project with two Labs; the second has another learning rate and one model more."""
    del first, repx
    text = LAB.replace("lr: 0.1", "lr: 0.2").replace("[svm, tree]", "[svm, tree, gboost]")
    written(tmp_path, {"lab.yaml": text})
    return tmp_path


@pytest.mark.usefixtures("project")
def test_a_dry_run_groups_by_reason_with_counts_and_parameters(repx: Repx) -> None:
    said = repx("run", "-n")
    rows = [line.split("\t") for line in said.out.splitlines()]

    assert [
        ["2", "clean", "never ran", "table=iris.csv, mice.csv"],
        [
            "4",
            "fit",
            "parameter lr: 0.1 → 0.2",
            "lr=0.2; model=svm, tree; table=iris.csv, mice.csv",
        ],
        [
            "2",
            "fit",
            "parameter lr: 0.1 → 0.2, new combination: model=gboost",
            "lr=0.2; model=gboost; table=iris.csv, mice.csv",
        ],
    ] == sorted(rows[:5], key=lambda row: (row[1], row[2]))[:3]
    assert said.err.endswith("14 would run\n")
    reasons = {task["reason"] for task in json.loads(repx("run", "-n", "--json").out)["run"]}
    assert {row[2] for row in rows} == reasons


@pytest.mark.usefixtures("project")
def test_what_is_only_needed_says_by_which_stage(repx: Repx) -> None:
    said = repx("run", "--stage", "fit", "-n", "--no-build")

    assert "2\tclean\tneeded by fit\ttable=iris.csv, mice.csv\n" in said.out


def test_diff_says_the_same_of_two_labs(repx: Repx, project: Path, first: Path) -> None:
    new = (project / "result").resolve().name[:12]
    old = first.name[:12]
    said = repx("diff")

    assert 0 == said.code
    assert "parameter lr: 0.1 → 0.2" in said.out
    line = f"Lab {old} → Lab {new}: 12 jobs new, 8 jobs gone, 2 jobs unchanged\n"
    assert line == said.err
    assert said == repx("diff", old[:6])
    assert said == repx("diff", first, project / "result")
    back = repx("diff", project / "result", first)
    assert f"Lab {new} → Lab {old}: 8 jobs new, 12 jobs gone, 2 jobs unchanged\n" == back.err
    assert "parameter lr: 0.2 → 0.1" in back.out
    same = repx("diff", new)
    assert ("", f"Lab {new} → Lab {new}: 14 jobs unchanged\n") == (same.out, same.err)
    document = json.loads(repx("diff", "--json").out)
    assert (12, {"fit": 4, "report": 4}, 2) == (
        sum(len(group["jobs"]) for group in document["added"]),
        document["gone"],
        document["unchanged"],
    )


def test_diff_needs_a_lab_to_compare_with(repx: Repx, first: Path) -> None:
    said = repx("diff")
    assert (2, "error: no Lab before result is known\n") == (
        said.code,
        said.err.partition("hint")[0],
    )
    said = repx("diff", "nothing")
    assert f"error: no Lab 'nothing'\nhint: there are: {first.name[:12]}\n" == said.err
