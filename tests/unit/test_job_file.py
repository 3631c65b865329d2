"""What the runner reads of a job file is what bash reads of it, whatever the values are."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from repx import job_file, render
from repx.launch import BRANCH
from repx.model import Executable, Input, Job, Run, StageType
from repx.plan import Plan, Task
from repx.runner import jobfile
from repx.runner.jobfile import NeedsShell
from repx.runner.program import Program
from repx.target import Secret, Target
from tests.made import made_lab, made_units

if TYPE_CHECKING:
    from collections.abc import Mapping

TEXTS: Final = st.text(st.characters(codec="utf-8", exclude_characters="\0"))
HOSTILE: Final = 'it\'s a "b" $HOME `x` #c\n;é\\ $1 "$1"'


def _job(text: str) -> Job:
    out = {text: f"$out/{text}", "o": "$out/o"}
    return Job(
        id=f"id {text}",
        name="x",
        stage_type=StageType.SIMPLE,
        params={text: text},
        executables={"main": Executable(path=f"bin/{text}", outputs=out)},
    )


def _phased() -> Job:
    item = Input(target="worker__item", source="scatter:work_item")
    outs = Input(target="worker__outs", source="runner:worker_outputs", source_key="o")
    return Job(
        id="sg",
        name="sg",
        stage_type=StageType.SCATTER_GATHER,
        params={},
        executables={
            "scatter": Executable(path="s", outputs={"work__items": "$out/work_items.json"}),
            "step-a": Executable(path="a", inputs=(item,), outputs={"o": f"$out/{HOSTILE}"}),
            "step-b": Executable(
                path="b",
                inputs=(Input(target="x", source="step:a", source_output="o"),),
                outputs={"o": "$out/o"},
                deps=("a",),
            ),
            "gather": Executable(path="g", inputs=(outs,), outputs={"o": "$out/o"}),
        },
    )


def _files(job: Job, *, templates: str | None = None, **fields: object) -> Mapping[str, str]:
    task = Task(job=job, run="r", reason="wanted", units=made_units(job))
    target = Target(**({"name": "here", "base_path": "/b"} | fields))  # type: ignore[arg-type]
    lab = made_lab(
        runs={"r": Run(name="r", metadata="", jobs=(job.id,))},
        jobs={job.id: job},
        host_tools="tools",
    )
    files = render.job_scripts(
        render.environment(templates),
        Plan(tasks=(task,)),
        lab,
        target,
        submission_id="s1",
        artifact=lambda path: f"{target.base_path}/artifacts/{path}",
    )
    return {file.path: file.text for file in files}


def _simple(text: str, **fields: object) -> str:
    (found,) = _files(_job(text), **fields).values()  # type: ignore[arg-type]  # those of Target
    return found


def _by_bash(text: str, *arguments: str) -> dict[str, list[str]]:
    """Return what bash makes of the head, each value as its words."""
    head = text[: text.index("\ncase $0")]
    show = (
        'for name in "${!repx_@}"; do declare -n value=$name; '
        'printf "%s\\0" "$name" "${#value[@]}" "${value[@]}"; done'
    )
    done = subprocess.run(
        ["bash", "-c", f"{head}\n{show}", "bash", *arguments], capture_output=True, check=True
    )
    assert b"" == done.stderr
    parts = done.stdout.decode().split("\0")[:-1]
    found = {}
    while parts:
        name, count, *parts = parts
        found[name.removeprefix("repx_")] = parts[: int(count)]
        del parts[: int(count)]
    return found


def _by_runner(text: str, branch: bytes = b"") -> dict[str, list[str]]:
    values = jobfile.read(text.encode(), branch)
    return {
        name: [word.decode() for word in (value if isinstance(value, list) else [value])]
        for name, value in values.items()
    }


@settings(deadline=None)
@given(text=TEXTS)
@example(text="$out")
@example(text=HOSTILE)
def test_any_value_is_read_as_it_was_meant(text: str) -> None:
    base = f"/b {text}"
    script = _simple(text, base_path=base, environment={"A": text, "B": "b"})

    said = _by_runner(script)

    home = f"{base}/outputs/id {text}"
    assert [f"{base}/artifacts/bin/{text}"] == said["executable"]
    assert [
        *said["executable"],
        *(f"{home}/{name}" for name in ("out", "repx/inputs.json", "repx/parameters.json")),
    ] == said["command"]
    assert ({text: text}, {}) == tuple(json.loads(said[n][0]) for n in ("parameters", "inputs"))
    templates = {text: f"$out/{text}"} | {"o": "$out/o"}  # every $out of a template is meant
    paths = {name: path.replace("$out", f"{home}/out") for name, path in templates.items()}
    assert [word for pair in paths.items() for word in pair] == said["outputs"]
    assert ["A", text, "B", "b"] == said["environment"]
    assert ([], [f"{base}/labs/lab/host-tools/tools/bin"]) == (said["needs"], said["path"])


@pytest.mark.slow
@pytest.mark.parametrize("text", [HOSTILE, "", "a", "~", "-n", "=", "x=y", "*", "\\", "'", "\n"])
def test_bash_and_the_runner_read_the_same(text: str) -> None:
    script = _simple(text, environment={"A": text}, secrets={"S": Secret(kind="env", source="X")})

    assert _by_bash(script) == _by_runner(script)


@pytest.mark.slow
def test_every_unit_of_a_scatter_gather_job_has_a_file_that_both_read_alike() -> None:
    files = _files(_phased(), base_path=f"/b {HOSTILE}")

    units = ("scatter", "step-a", "step-b", "gather")
    assert {"jobs/sg.sh", *(f"jobs/sg/{unit}.sh" for unit in units)} == set(files)
    for path, text in files.items():
        branch = ["17"] if "/step-" in path else []
        said = _by_bash(text, *branch)
        assert said == _by_runner(text, *(word.encode() for word in branch))
        assert BRANCH not in "".join(word for words in said.values() for word in words)
    step = _by_runner(files["jobs/sg/step-a.sh"], b"17")
    assert [f"/b {HOSTILE}/outputs/sg/branch-17/step-a"] == step["folder"]
    assert [f"/b {HOSTILE}/outputs/sg/branch-17/step-b/repx/SUCCESS"] == step["later"]
    assert f"/b {HOSTILE}/outputs/sg/branch-17/repx/work_item.json" in step["needs"]
    gather = _by_runner(files["jobs/sg/gather.sh"])
    assert ["step-b"] == gather["sink"]
    element = json.loads("17".join(gather["element"]))
    assert {"o": f"/b {HOSTILE}/outputs/sg/branch-17/step-b/out/o"} == element


def test_a_step_without_its_branch_is_left_to_bash() -> None:
    with pytest.raises(NeedsShell):
        jobfile.read(_files(_phased())["jobs/sg/step-a.sh"].encode())


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("\ncase $0", "\nmodule load x\n\ncase $0"),
        ("\nrepx_forced=\n", "\nrepx_forced=$X\n"),
        ("\nrepx_forced=\n", "\nforced=\n"),
        ("\nrepx_forced=\n", "\nrepx_forced=a b\n"),
        ("\nrepx_job=", "\nrepx_job=~"),
        ("\nrepx_needs=()", "\nrepx_needs=(a  b)"),
        ("\nrepx_needs=()", "\nrepx_needs=($(ls))"),
        ("\nrepx_needs=()", "\nrepx_needs=(a"),
        ("repx_format=1", "repx_format=2"),
        ("repx_main ", "repx_main -x "),
        ('"$@"\n', '"$@"'),
    ],
)
def test_a_file_that_people_have_changed_is_left_to_bash(before: str, after: str) -> None:
    text = _simple("x")
    assert before in text
    jobfile.read(text.encode())

    with pytest.raises(NeedsShell):
        jobfile.read(text.replace(before, after).encode())


def test_the_tail_that_the_runner_knows_is_the_one_that_is_written() -> None:
    assert f"\n{job_file.TAIL}\n".encode() == jobfile.TAIL


def test_a_changed_value_is_read() -> None:
    text = _simple("x").replace("repx_needs=()", "repx_needs=(a 'b c')")

    assert ["a", "b c"] == _by_runner(text)["needs"]


def test_a_site_s_own_lines_are_left_to_bash(tmp_path: Path) -> None:
    (tmp_path / "job.sh.j2").write_text(
        '{% extends "repx/job.sh.j2" %}{% block prologue %}module load x\n{% endblock %}'
    )
    text = _simple("x", templates=str(tmp_path))

    assert "\nrepx_site() { # runs in the program's own process, right before it\nmodule" in text
    with pytest.raises(NeedsShell):
        jobfile.read(text.encode())


def test_the_environment_of_a_program(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from a file\n")
    secrets = {
        "F": Secret(kind="file", source=str(tmp_path / "token")),
        "E": Secret(kind="env", source="GIVEN"),
    }
    text = _simple("x", environment={"A": "new", "B": "b"}, secrets=secrets)
    path = tmp_path / "job.sh"
    path.write_text(text.replace("/b/artifacts/bin/x", "/bin/true"))
    given = {b"PATH": b"/bin", b"A": b"old", b"GIVEN": b"from a variable"}

    found = Program.read(b"", os.fsencode(path), b"", given, b"mark").environment

    assert {
        **given,
        b"A": b"new",
        b"B": b"b",
        b"F": b"from a file",
        b"E": b"from a variable",
        b"PATH": b"/b/labs/lab/host-tools/tools/bin:/bin",
        b"PWD": b"/b/outputs/id x/out",
        b"REPX_UNIT": b"mark",
    } == found
    assert b"from a" not in path.read_bytes()
