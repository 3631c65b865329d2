"""Plans as text: quoting, golden scripts, templates of a site's own."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from repx import assets, render, runner_code, schedulers
from repx.errors import InputError, RenderError
from repx.model import DependencyType, Executable, Input, Job, Lab, Run, StageType
from repx.plan import Gate, Plan, Task
from repx.render import Raw, RenderedFile
from repx.schedulers.contract import Folder
from repx.status import Batch
from repx.target import LocalOptions, Resources, Retries, Target
from tests.made import made_lab, made_units

HOSTILE = 'it\'s a "b" $HOME `x` #c\n;é\\'
BASE = f"/store {HOSTILE}"


def _simple() -> Job:
    main = Executable(
        path=f"jobs/{HOSTILE}/bin/x",
        inputs=(
            Input(target=HOSTILE, job_id="sg", source_output="o"),
            Input(target="store__base", type="global"),
        ),
        outputs={HOSTILE: f"$out/{HOSTILE}", "also": "$out/also"},
    )
    return Job(
        id=HOSTILE,
        name=HOSTILE,
        stage_type=StageType.SIMPLE,
        params={HOSTILE: HOSTILE, "none": None, "list": [1, 2.5, True]},
        executables={"main": main},
    )


def _phased() -> Job:
    item = Input(target="worker__item", source="scatter:work_item")
    before = Input(target=HOSTILE, source="step:a", source_output="o")
    outs = Input(target="worker__outs", source="runner:worker_outputs", source_key="o")
    out = {"o": f"$out/{HOSTILE}"}
    return Job(
        id="sg",
        name="sg",
        stage_type=StageType.SCATTER_GATHER,
        params={},
        executables={
            "scatter": Executable(path="s", outputs={"work__items": "$out/work_items.json"}),
            "step-b b": Executable(path="b b", inputs=(before,), outputs=out, deps=("a",)),
            "step-a": Executable(path="a", inputs=(item,), outputs=out),
            "gather": Executable(path="g", inputs=(outs,), outputs=out),
        },
    )


def _plan() -> tuple[Plan, Lab]:
    jobs = {job.id: job for job in (_phased(), _simple())}
    small = Resources(cpus=2, mem_bytes=1 << 30, time_s=60)
    phased = Task(
        job=jobs["sg"],
        run="first",
        reason="wanted",
        units=made_units(jobs["sg"], small, step_a=Resources(cpus=4)),
        needs=("done", "theirs"),
        retries=Retries(n=1),
    )
    simple = Task(
        job=jobs[HOSTILE],
        run=HOSTILE,
        reason=HOSTILE,
        units=made_units(jobs[HOSTILE]),
        needs=("sg",),
        gates=(0,),
        forced=True,
    )
    gate = Gate(run="first", type=DependencyType.SOFT, jobs=("sg", "theirs"))
    runs = {
        name: Run(name=name, metadata="", jobs=(job,))
        for name, job in (("first", "sg"), (HOSTILE, HOSTILE))
    }
    lab = made_lab(
        id="lab1",
        host_tools="tools",
        runs=runs,
        jobs=jobs,
    )
    plan = Plan(
        tasks=(phased, simple),
        gates=(gate,),
        done=("done",),
        alive={"theirs": Batch(system="slurm", id="7")},
    )
    return plan, lab


def _target(**fields: object) -> Target:
    given = {"name": HOSTILE, "base_path": BASE, "environment": {"A": HOSTILE}, **fields}
    return Target(**given)  # type: ignore[arg-type]  # each test names fields that exist


def _rendered(**fields: object) -> dict[str, RenderedFile]:
    plan, lab = _plan()
    target = _target(**fields)
    common = render.submission(
        plan, lab, target, submission_id="s1", artifact=lambda path: f"{BASE}/artifacts/{path}"
    )
    own = schedulers.of(target).files(plan, lab, target, Folder(submission="s1"))
    return {file.path: file for file in (*common, *own)}


def test_a_local_submission_has_all_it_needs() -> None:
    files = _rendered()

    assert {
        "README",
        f"jobs/{HOSTILE}.sh",
        "jobs/sg.sh",
        "jobs/sg/gather.sh",
        "jobs/sg/scatter.sh",
        "jobs/sg/step-a.sh",
        "jobs/sg/step-b b.sh",
        "batch.sh",
        "exceptional.sh",
        "plain.sh",
        "secrets.sh",
        "lib.sh",
        "markers.sh",
        "plan.json",
        "run.sh",
        "scatter-gather.sh",
    } == set(files)
    assert files == _rendered()
    scripts = {path for path in files if path == "run.sh" or path.startswith("jobs/")}
    assert scripts == {path for path, file in files.items() if file.mode & 0o111}


def test_scripts_with_values_of_the_environment_are_private() -> None:
    private = {path for path, file in _rendered().items() if not file.mode & 0o077}
    public = _rendered(environment={}).values()

    assert {path for path in _rendered() if path.startswith("jobs/")} == private
    assert all(file.mode & 0o044 for file in public)


def test_only_the_local_scheduler_brings_run_sh() -> None:
    plan, lab = _plan()
    common = render.submission(plan, lab, _target(), submission_id="s1", artifact=str)

    assert "run.sh" not in {file.path for file in common}


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (f"jobs/{HOSTILE}.sh", "simple.sh"),
        ("jobs/sg.sh", "phases.sh"),
        ("jobs/sg/step-b b.sh", "step.sh"),
        ("README", "README"),
    ],
)
def test_scripts_are_as_recorded(golden: Callable[[str, str], None], path: str, name: str) -> None:
    golden(f"submission/{name}", _rendered()[path].text)


def test_plan_json_is_as_recorded_and_follows_its_schema(
    golden: Callable[[str, str], None],
) -> None:
    text = _rendered()["plan.json"].text
    document = json.loads(text)

    jsonschema.validate(document, json.loads(assets.path("schemas/plan.schema.json").read_text()))
    golden("submission/plan.json", json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def _scripts(tmp_path: Path) -> list[Path]:
    """Write the scripts made for this plan; the library has no value of a plan in it."""
    paths = []
    for place, file in enumerate(_rendered(local=LocalOptions(jobs=2)).values()):
        if file.path.endswith(".sh") and file.path not in render.SHELL_LIBRARY:
            path = tmp_path / f"{place}.sh"
            path.write_text(file.text)
            paths.append(path)
    return paths


@pytest.mark.slow
def test_every_script_is_good_bash(tmp_path: Path) -> None:
    for path in _scripts(tmp_path):
        subprocess.run(["bash", "-n", path], check=True)


@pytest.mark.slow
@pytest.mark.needs("shellcheck")
def test_shellcheck_finds_nothing(tmp_path: Path) -> None:
    subprocess.run(["shellcheck", *_scripts(tmp_path)], check=True)
    templates = assets.path("templates")
    library = [f"{templates.name}/{name}" for name in render.SHELL_LIBRARY]
    subprocess.run(["shellcheck", "-x", *library], cwd=templates.parent, check=True)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, ""),
        ({"jobs": 2, "cpus": 4, "mem_bytes": 1 << 30}, " -j 2 --cpus 4 --mem 1073741824"),
    ],
    ids=["all", "some"],
)
def test_run_sh_passes_the_target_s_limits(fields: dict[str, int], words: str) -> None:
    text = _rendered(local=LocalOptions(**fields))["run.sh"].text
    runner = shlex.quote(runner_code.start(BASE))

    assert f' {runner} "$repx_folder"{words} "$@")\n' in text


# --- quoting ---------------------------------------------------------------------------------


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0")))
def test_any_value_is_one_word_of_shell(value: str) -> None:
    made = render.environment()

    assert [value] == shlex.split(made.from_string("{{ value }}").render(value=value))


def test_shell_code_is_left_as_it_is() -> None:
    made = render.environment()

    assert '"$x" a' == made.from_string("{{ value }}").render(value=Raw('"$x" a'))


def test_a_comment_stays_on_its_line() -> None:
    assert "a?rm b" == render.comment("a\nrm b")


def test_a_value_that_is_none_is_a_mistake_of_ours() -> None:
    with pytest.raises(RenderError):
        render.environment().from_string("{{ value }}").render(value=None)


@pytest.mark.parametrize("name", ["a b", "1A", "A=", "", "$(x)"])
def test_a_variable_must_have_a_name_that_shells_take(name: str) -> None:
    with pytest.raises(InputError) as caught:
        _rendered(environment={name: "x"})

    assert f"'{name}' cannot be the name of a variable" in caught.value.message


# --- templates of a site's own ---------------------------------------------------------------


def test_a_site_may_fill_a_block_of_ours(tmp_path: Path) -> None:
    (tmp_path / "job.sh.j2").write_text(
        '{% extends "repx/job.sh.j2" %}\n'
        "{% block prologue %}\n  module load {{ run }}\n{% endblock %}"
    )

    text = _rendered(templates=str(tmp_path))["jobs/sg.sh"].text

    assert "  module load first\n" in text
    assert 'repx_main "$@"' in text


def test_a_site_may_replace_a_template(tmp_path: Path) -> None:
    (tmp_path / "run.sh.j2").write_text("mine\n")

    assert "mine\n" == _rendered(templates=str(tmp_path))["run.sh"].text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a\n{{ nothing }}\n", "job.sh.j2: 'nothing' is undefined"),
        ("a\n{% if %}\n", "job.sh.j2:2: Expected an expression, got 'end of statement block'"),
        ('{% include "x.j2" %}', "job.sh.j2: there is no template 'x.j2'"),
    ],
    ids=["name", "syntax", "include"],
)
def test_a_mistake_in_a_template_is_named(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "job.sh.j2").write_text(text)

    with pytest.raises(RenderError) as caught:
        _rendered(templates=str(tmp_path))

    assert said in caught.value.message


# --- size ------------------------------------------------------------------------------------


def test_scripts_are_made_one_by_one() -> None:
    """So that 100,000 of them never fill memory together."""
    plan, lab = _plan()
    asked: list[str] = []

    def artifact(path: str) -> str:
        asked.append(path)
        return path

    files = render.submission(plan, lab, _target(), submission_id="s1", artifact=artifact)
    for file in files:
        if file.path.startswith("jobs/"):
            break

    assert f"jobs/{HOSTILE}/bin/x" not in asked


def test_the_shell_library_is_found_in_the_templates() -> None:
    folder = assets.path("templates")

    assert [] == [name for name in render.SHELL_LIBRARY if not (folder / name).is_file()]
    assert shutil.which("bash")
