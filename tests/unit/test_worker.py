"""What script.py reads of a job script is what bash would."""

from __future__ import annotations

import json
import os
import zlib
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from repx import assets, render
from repx.model import Executable, Job, Run, StageType
from repx.plan import Plan, Task
from repx.runner import script as scripts
from repx.target import Target
from tests.made import made_lab, made_units

TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"))


def _script(text: str, *, templates: str | None = None, **fields: object) -> str:
    """Return a job script in which ``text`` is whatever it can be."""
    out = {text: f"$out/{text}", "o": "$out/o"}
    job = Job(
        id=f"id {text}",
        name="x",
        stage_type=StageType.SIMPLE,
        params={text: text},
        executables={"main": Executable(path=f"bin/{text}", outputs=out)},
    )
    task = Task(job=job, run=text, reason="wanted", units=made_units(job))
    made = {"name": "here", "base_path": f"/b {text}", "environment": {"A": text, "B": "b"}}
    target = Target(**(made | fields))  # type: ignore[arg-type]  # fields that exist
    lab = made_lab(
        runs={text: Run(name=text, metadata="", jobs=(job.id,))},
        jobs={job.id: job},
        host_tools="tools",
    )
    files = render.job_scripts(
        render.environment(templates),
        Plan(tasks=(task,)),
        lab,
        target,
        artifact=lambda path: f"/b {text}/artifacts/{path}",
    )
    return next(files).text


def _read(folder: Path, text: str) -> scripts.Script:
    path = folder / "script"
    path.write_bytes(text.encode())
    return scripts.Script(os.fsencode(path))


@pytest.mark.slow
@given(text=TEXTS)
@example(text="$out")
def test_any_value_is_read_as_it_was_meant(
    text: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    script = _read(tmp_path_factory.getbasetemp(), _script(text))

    base = f"/b {text}"
    home = f"{base}/outputs/id {text}"
    assert [f"{home}/repx", f"{home}/out", "local"] == [
        part.decode() for part in (script.record, script.out, script.scheduler)
    ]
    assert f"{base}/artifacts/bin/{text}" == script.executable.decode()
    assert [
        script.executable.decode(),
        f"{home}/out",
        f"{home}/repx/inputs.json",
        f"{home}/repx/parameters.json",
    ] == [word.decode() for word in script.command]
    assert {text: text} == json.loads(script.parameters)
    assert {} == json.loads(script.inputs)
    assert [] == script.needs
    templates = {text: f"$out/{text}"} | {"o": "$out/o"}  # every $out of a template is meant
    names = {name: path.replace("$out", f"{home}/out") for name, path in templates.items()}
    assert list(names.values()) == [path.decode() for path in script.outputs]
    environment = script.environment({b"PATH": b"/bin", b"A": b"old"})
    assert {
        b"A": text.encode(),
        b"B": b"b",
        b"PATH": f"{base}/artifacts/host-tools/tools/bin:/bin".encode(),
        b"PWD": script.out,
    } == environment


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("  :\n", "  module load x\n  :\n"),
        ("main\nrepx", "ulimit -c 0\nmain\nrepx"),
        ("forced=\n", "forced=$X\n"),
        ("job=", "job=a"),
        ("esac\n", "esac; umask 077\n"),
        ("command=(", "command=() x=("),
    ],
    ids=["environment", "main", "expansion", "glued words", "folder", "no command"],
)
def test_a_script_that_people_have_changed_is_left_to_bash(
    before: str, after: str, tmp_path: Path
) -> None:
    text = _script("x")
    assert before in text
    _read(tmp_path, text)

    with pytest.raises(scripts.NeedsShell):
        _read(tmp_path, text.replace(before, after))


def test_the_library_is_the_one_that_workers_follow() -> None:
    """After a change of lib.sh make sure that script.py still does the same, then say so there."""
    assert scripts.LIBRARY == zlib.crc32(assets.path("templates/lib.sh").read_bytes())


def test_a_changed_value_is_read(tmp_path: Path) -> None:
    text = _script("x").replace("  export B=b\n", "  export B='other value'\n")

    assert (b"B", b"other value") in _read(tmp_path, text).exports


def test_a_site_s_own_prologue_is_left_to_bash(tmp_path: Path) -> None:
    (tmp_path / "job.sh.j2").write_text(
        '{% extends "repx/job.sh.j2" %}{% block prologue %}module load x\n{% endblock %}'
    )

    with pytest.raises(scripts.NeedsShell):
        _read(tmp_path, _script("x", templates=str(tmp_path)))
