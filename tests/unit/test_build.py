"""``repx build`` and ``repx init``: what they leave on disk, and what they refuse to touch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from repx.errors import InputError, ProblemsError
from repx.lab.build import Built, build
from repx.lab.load import OpenLab, open_lab
from repx.lab.verify import verify

if TYPE_CHECKING:
    from collections.abc import Sequence

LAB: Final = """\
stages:
  count:
    parameters: {table: none, n: 1}
    outputs: {o: $out/o.txt}
    run: wc -l "${parameters[table]}" "${parameters[n]}" > "${outputs[o]}"
pipelines: {main: [count]}
runs:
  r: {parameters: {n: [1, 2]}}
"""
SCAN: Final = LAB.replace("n: [1, 2]", 'table: {files: "data/**/*.csv"}')


def no_tool(argv: Sequence[str], stdin: str) -> None:
    """Act as a machine without bash and shellcheck."""
    del argv, stdin


def built(folder: Path, text: str = LAB, **files: str) -> Built:
    (folder / "lab.yaml").write_text(text, encoding="utf-8")
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8")
    return build(folder / "lab.yaml", folder / "result", no_tool)


def jobs(opened: OpenLab) -> dict[str, Any]:
    """Return the jobs' parameters by id."""
    return {job.id: dict(job.params) for job in opened.lab.jobs.values()}


def repx(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "repx", *arguments],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip


# --- the link and the Labs --------------------------------------------------------------------


def test_the_link_leads_to_a_lab_named_by_its_content(tmp_path: Path) -> None:
    made = built(tmp_path)

    place = Path(".repx/labs", f"{made.lab_id}-{tmp_path.name}")
    assert (tmp_path / "result").readlink() == place
    assert open_lab(tmp_path / "result").lab.id == made.lab_id
    assert (tmp_path / ".repx/.gitignore").read_text(encoding="utf-8") == "*\n"
    verify(open_lab(tmp_path / "result"), cache=None)


def test_building_the_same_again_writes_nothing(tmp_path: Path) -> None:
    first = built(tmp_path)
    before = (tmp_path / "result/lab/lab-metadata.json").stat()

    again = built(tmp_path)

    assert (first.new, again.new) == (True, False)
    assert (first.jobs, again.jobs) == (2, 2)
    assert (tmp_path / "result/lab/lab-metadata.json").stat() == before


def test_the_same_input_elsewhere_is_the_same_lab(tmp_path: Path) -> None:
    ids = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        text = f"name: same\n{SCAN}"
        ids.append(built(tmp_path / name, text, **{"data/a.csv": "1\n"}).lab_id)

    assert ids[0] == ids[1]


def test_a_change_gives_another_lab_and_keeps_the_first(tmp_path: Path) -> None:
    first = built(tmp_path)

    second = built(tmp_path, LAB.replace("[1, 2]", "[1, 2, 3]"))

    assert second.jobs == 3
    assert (tmp_path / "result").resolve() == second.path.resolve()
    assert first.path.is_dir()
    one, two = open_lab(first.path), open_lab(second.path)
    assert one.lab.jobs.keys() < two.lab.jobs.keys()


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_real_file_or_folder_called_result_is_not_replaced(tmp_path: Path, kind: str) -> None:
    place = tmp_path / "result"
    place.mkdir() if kind == "folder" else place.touch()

    with pytest.raises(InputError, match=f"result is a {kind}, not the link") as caught:
        built(tmp_path)

    assert caught.value.hint == "move it away, or choose another name: repx build -o result-2"
    assert not place.is_symlink()
    assert not (tmp_path / ".repx").exists()


def test_a_link_to_a_lab_that_is_gone_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "result").symlink_to("nowhere")

    built(tmp_path)

    assert open_lab(tmp_path / "result").lab.jobs


def test_what_a_killed_build_left_is_removed(tmp_path: Path) -> None:
    left = tmp_path / ".repx/labs/0abc-x.part"
    (left / "jobs").mkdir(parents=True)

    built(tmp_path)

    assert not left.exists()


def test_a_mistake_keeps_the_earlier_lab(tmp_path: Path) -> None:
    first = built(tmp_path)

    with pytest.raises(InputError):
        built(tmp_path, LAB.replace("[count]", "[cuont]"))

    assert (tmp_path / "result").resolve() == first.path.resolve()


def test_a_mistake_only_the_expander_sees_leaves_nothing(tmp_path: Path) -> None:
    text = LAB.replace("$out/o.txt}", '"$out/{table}"}').replace("n: [1, 2]", "table: [a/b]")

    with pytest.raises(InputError, match="the value 'a/b' of parameter 'table' cannot be part"):
        built(tmp_path, text)

    assert not (tmp_path / "result").is_symlink()
    assert [path.name for path in (tmp_path / ".repx/labs").iterdir()] == [".lock"]


@pytest.mark.parametrize(
    ("bounds", "values"),
    [
        ("[1, 4]", [1, 2, 3, 4]),
        ("[0, 10, 4]", [0, 4, 8]),
        ("[3, 1, -1]", [3, 2, 1]),
        ("[0, 0.3, 0.1]", [0.0, 0.1, 0.2, 0.3]),
        ("[5, 5]", [5]),
    ],
)
def test_a_range_holds_exact_steps_and_its_end(
    tmp_path: Path, bounds: str, values: list[float]
) -> None:
    built(tmp_path, LAB.replace("n: [1, 2]", f"n: {{range: {bounds}}}"))

    found = sorted(params["n"] for params in jobs(open_lab(tmp_path / "result")).values())
    assert [repr(value) for value in found] == [repr(value) for value in sorted(values)]


# --- scanned data and programs ----------------------------------------------------------------


def test_a_scan_gives_one_job_for_each_file(tmp_path: Path) -> None:
    files = {"data/b.csv": "1\n", "data/deep/a b'c.csv": "2\n", "data/c.txt": "3\n"}

    built(tmp_path, SCAN, **files)

    opened = open_lab(tmp_path / "result")
    values = sorted(params["table"] for params in jobs(opened).values())
    assert [value[:11] for value in values] == ["$lab/store/"] * 2
    texts = {(opened.root / value[5:]).read_text(encoding="utf-8") for value in values}
    assert texts == {"1\n", "2\n"}
    assert {value[44:] for value in values} == {"b.csv", "01f8dffe-a_b_c.csv"}


def test_an_edited_file_gives_a_new_job_and_keeps_the_others(tmp_path: Path) -> None:
    built(tmp_path, SCAN, **{"data/a.csv": "1\n", "data/b.csv": "2\n"})
    before = jobs(open_lab(tmp_path / "result"))

    built(tmp_path, SCAN, **{"data/b.csv": "3\n"})
    after = jobs(open_lab(tmp_path / "result"))

    assert len(before.keys() & after.keys()) == 1
    assert len(after) == 2


def test_a_scanned_folder_is_one_value_with_all_its_files(tmp_path: Path) -> None:
    text = SCAN.replace('files: "data/**/*.csv"', 'dirs: "cases/*"')
    files = {
        "cases/one/x/data": "1",
        "cases/one/__pycache__/junk": "j",
        "cases/two/data": "2",
        "cases/note": "n",
    }

    built(tmp_path, text, **files)

    opened = open_lab(tmp_path / "result")
    found = {
        os.fspath(path.relative_to(opened.root / params["table"][5:]))
        for params in jobs(opened).values()
        for path in (opened.root / params["table"][5:]).rglob("*")
        if path.is_file()
    }
    assert found == {"x/data", "data"}


SCRIPT: Final = """\
stages:
  s:
    script: code/main.py
    files: [code/helper.py, more]
pipelines: {main: [s]}
runs: {r: {}}
"""
PROGRAM: Final = {
    "code/main.py": "#!/usr/bin/env python3\n",
    "code/helper.py": "x = 1\n",
    "more/data.txt": "1\n",
    "more/.git/config": "",
}


def test_a_program_and_its_files_keep_their_places(tmp_path: Path) -> None:
    built(tmp_path, SCRIPT, **PROGRAM)

    store = tmp_path / "result/store"
    (folder,) = {path.parents[1] for path in store.glob("*/code/main.py")}
    names = {os.fspath(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert names == {"code/main.py", "code/helper.py", "more/data.txt"}
    assert os.access(folder / "code/main.py", os.X_OK)


@pytest.mark.parametrize("name", ["code/main.py", "code/helper.py", "more/data.txt"])
def test_an_edited_program_or_file_gives_new_jobs(tmp_path: Path, name: str) -> None:
    built(tmp_path, SCRIPT, **PROGRAM)
    before = jobs(open_lab(tmp_path / "result"))

    built(tmp_path, SCRIPT, **{name: f"{PROGRAM[name]}# edited\n"})

    assert jobs(open_lab(tmp_path / "result")).keys().isdisjoint(before)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("5m", "00:05:00"),
        ("1d2h", "1-02:00:00"),
        ('"00:05:00"', "00:05:00"),
        ('"90"', "90"),
        ('"{n}h"', "01:00:00"),
    ],
)
def test_times_are_kept_as_slurm_writes_them(tmp_path: Path, given: str, kept: str) -> None:
    resources = f"    resources: {{time: 1h, when: [{{if: {{n: 1}}, time: {given}}}]}}\n    run:"
    built(tmp_path, LAB.replace("    run:", resources))

    found = open_lab(tmp_path / "result").lab.jobs.values()
    times = {job.params["n"]: job.hints.time for job in found}
    assert {1: kept, 2: "01:00:00"} == times


@pytest.mark.parametrize("given", ["0m", "5m1h", "1.5h", "5x", "soon"])
def test_other_times_are_refused(tmp_path: Path, given: str) -> None:
    with pytest.raises(ProblemsError, match="is not understood, write it like 30m"):
        built(tmp_path, LAB.replace("    run:", f"    resources: {{time: {given}}}\n    run:"))


def test_edited_resources_keep_every_job(tmp_path: Path) -> None:
    built(tmp_path)
    before = jobs(open_lab(tmp_path / "result"))

    built(tmp_path, LAB.replace("    run:", "    resources: {mem: 8G}\n    run:"))

    opened = open_lab(tmp_path / "result")
    assert jobs(opened) == before
    assert {job.hints.mem for job in opened.lab.jobs.values()} == {"8G"}


# --- runs -------------------------------------------------------------------------------------

TWO_RUNS: Final = """\
stages:
  a: {outputs: {o: $out/o}, run: 'echo > "${outputs[o]}"'}
  first: {outputs: {p: $out/p}, run: 'echo > "${outputs[p]}"'}
  reads: {inputs: [store__base, metadata__one, p], run: 'echo "${inputs[@]}"'}
pipelines:
  one: [a]
  two: [first, reads]
runs:
  two: {pipelines: [two], dependencies: {one: soft}}
  one: {pipelines: [one]}
groups: {both: [one, two]}
"""


def test_the_first_stages_of_a_run_wait_for_the_run_before(tmp_path: Path) -> None:
    built(tmp_path, TWO_RUNS)

    lab = open_lab(tmp_path / "result").lab
    found = {
        job.stage: [(each.target, each.source_run) for each in job.entry.inputs]
        for job in lab.jobs.values()
    }
    assert found["a"] == []
    assert found["first"] == [("metadata__one", "one")]
    assert found["reads"] == [("p", None), ("metadata__one", "one"), ("store__base", None)]
    assert list(lab.runs) == ["one", "two"]
    assert lab.groups == {"both": ("one", "two")}


# --- the commands -----------------------------------------------------------------------------


@pytest.mark.slow
def test_build_says_in_a_line_what_it_built(tmp_path: Path) -> None:
    (tmp_path / "lab.yaml").write_text(LAB, encoding="utf-8")

    first, again = repx(tmp_path, "build"), repx(tmp_path, "build", "--json")

    answer = json.loads(again.stdout)
    short = answer["lab"][:12]
    assert (first.returncode, first.stdout) == (0, "")
    assert first.stderr == f"result is Lab {short}: 2 jobs, 1 run, 1 stage\n  r: 2\n"
    assert answer == {
        "lab": answer["lab"],
        "path": os.fspath((tmp_path / "result").resolve()),
        "new": False,
        "jobs": 2,
        "runs": ["r"],
        "stages": 1,
        "warnings": [],
    }


@pytest.mark.slow
def test_build_takes_a_folder_and_a_link_of_another_name(tmp_path: Path) -> None:
    (tmp_path / "study").mkdir()
    (tmp_path / "study/lab.yaml").write_text(LAB, encoding="utf-8")

    done = repx(tmp_path, "build", "study", "-o", "other")

    assert done.returncode == 0, done.stderr
    assert open_lab(tmp_path / "other").lab.jobs
    assert not (tmp_path / "study/.repx").exists()


@pytest.mark.slow
def test_build_shows_every_mistake_and_exits_with_2(tmp_path: Path) -> None:
    text = LAB.replace("[count]", "[cuont]").replace("  r:", "  top:")
    (tmp_path / "lab.yaml").write_text(text, encoding="utf-8")

    done = repx(tmp_path, "build")

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "error: lab.yaml:6:20: there is no stage 'cuont', did you mean 'count'?\n"
        "error: lab.yaml:8:3: a run cannot be called 'top': repx uses the word itself\n"
    )


@pytest.mark.slow
def test_a_place_that_cannot_be_written_is_named_with_exit_code_3(tmp_path: Path) -> None:
    (tmp_path / "lab.yaml").write_text(LAB, encoding="utf-8")
    (tmp_path / ".repx").write_text("a file", encoding="utf-8")

    done = repx(tmp_path, "build")

    assert done.returncode == 3
    assert "cannot write" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_init_writes_a_project_that_builds(tmp_path: Path) -> None:
    started = repx(tmp_path, "init", "my experiment")

    made = repx(tmp_path / "my experiment", "build")

    assert started.returncode == 0, started.stderr
    assert started.stdout.splitlines() == [
        f"my experiment/{name}" for name in (".gitignore", "lab.yaml", "summarise.py", "table.py")
    ]
    assert made.returncode == 0, made.stderr
    assert "37 jobs, 2 runs, 3 stages" in made.stderr
    assert "warning" not in made.stderr


@pytest.mark.slow
def test_init_names_the_experiment(tmp_path: Path) -> None:
    assert repx(tmp_path, "init", "--name", "mice-2").returncode == 0
    repx(tmp_path, "build")

    assert (tmp_path / "result").resolve().name.endswith("-mice-2")
    assert repx(tmp_path, "init", "--name", "a b", "there").returncode == 2
    assert not (tmp_path / "there").exists()


@pytest.mark.slow
def test_init_overwrites_nothing(tmp_path: Path) -> None:
    (tmp_path / "lab.yaml").write_text("mine", encoding="utf-8")

    done = repx(tmp_path, "init")

    assert done.returncode == 2
    assert done.stderr == (
        "error: .: lab.yaml exists already and is not overwritten\n"
        "hint: name a new folder: repx init my-experiment\n"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["lab.yaml"]
