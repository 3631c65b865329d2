"""The scripts for Slurm: whole files, quoted, readable, and accepted by bash and shellcheck."""

from __future__ import annotations

import dataclasses
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from repx import runner_code
from repx.config import units
from repx.errors import InputError, SchedulerError
from repx.model import DependencyType, Executable, Input, Job, StageType
from repx.plan import Gate, Plan, Task
from repx.schedulers.slurm import batches, directives, scripts
from repx.status import Agent, Batch
from repx.target import (
    Bundle,
    Resources,
    Retries,
    RetryReason,
    SchedulerName,
    SlurmOptions,
    Target,
)
from tests.made import made_lab, made_units

HOSTILE = "it's a #stage $HOME `x`"
TARGET = Target(
    name="cluster",
    base_path="/scratch/o'brien/my store",
    scheduler=SchedulerName.SLURM,
    slurm=SlurmOptions(
        options={
            "account": "a#b c",
            "qos": "long",
            "constraint": "a|b&c",
            "gres": "gpu:a100:2",
            "mail-type": "END,FAIL",
            "exclusive": True,
            "nice": 0,
            "overcommit": False,
        },
        prologue=("ulimit -c 0", 'export SITE="here"'),
        modules=("gcc/12", "my module"),
        max_running=50,
        requeue=True,
        bundles=(Bundle(name="short", cpus=4, time_s=3600),),
    ),
)
LAB = made_lab(
    id="l" * 32,
    runs={},
    jobs={},
)


def task(name: str, needs: Sequence[str] = (), **asked: object) -> Task:
    """Make a task of the stage that its name says."""
    job = Job(
        id=f"{name}-1.0",
        name=name,
        stage_type=StageType.SIMPLE,
        params={},
        executables={"main": Executable(path=f"bin/{name}")},
    )
    resources = Resources(**asked)  # type: ignore[arg-type]  # by name, as a test writes it
    return Task(
        job=job,
        run="run's",
        reason="never ran",
        units=made_units(job, resources),
        needs=tuple(f"{need}-1.0" for need in needs),
    )


def scattered(name: str, needs: Sequence[str] = ()) -> Task:
    """Make a scatter-gather task of two steps with resources of their own."""
    source = Input(target="in", job_id="one-1.0", source_output="o")
    executables = {
        "scatter": Executable(path="scatter", inputs=(source,)),
        "step-fit": Executable(path="fit", outputs={"o": "$out/o"}),
        "step-it's #2": Executable(path="two", outputs={"o": "$out/o"}, deps=("fit",)),
        "gather": Executable(path="gather"),
    }
    plain = task(name, needs)
    job = dataclasses.replace(
        plain.job, stage_type=StageType.SCATTER_GATHER, executables=executables
    )
    phases = {
        "scatter": Resources(cpus=1),
        "step-fit": Resources(cpus=8, mem_bytes=2**33, time_s=90000),
        "step-it's #2": Resources(cpus=2),
        "gather": Resources(cpus=1, time_s=60),
    }
    units = tuple(
        dataclasses.replace(unit, ladder=(phases[unit.phase.name],)) for unit in made_units(job)
    )
    return dataclasses.replace(plain, job=job, units=units)


def asking(one: Task, resources: Resources) -> Task:
    """Return the task with other resources."""
    return dataclasses.replace(one, units=made_units(one.job, resources))


def everything() -> Plan:
    """A plan with every kind of Slurm job: arrays, single, scatter-gather, bundle, gate."""
    asked = Resources(cpus=2, mem_bytes=3 * 2**30 + 1, time_s=5400, partition="main")
    first = [asking(task(f"h{i}-{HOSTILE}"), asked) for i in range(3)]
    second = [task(f"k{i}-calc", [f"h{i}-{HOSTILE}"], sbatch_opts=("-C fast",)) for i in range(3)]
    short = [task(f"s{i}-short", [f"k{i}-calc"], bundle="short") for i in range(3)]
    second = [asking(each, second[0].units[0].resources) for each in second]
    last = [
        dataclasses.replace(
            task("z0-report", ["s0-short", "m0-sum", "e0-old"]), retries=Retries(n=2)
        ),
        dataclasses.replace(task("z1-after"), gates=(0,)),
    ]
    gate = Gate(
        run="run's", type=DependencyType.HARD, jobs=("s1-short-1.0", "k2-calc-1.0", "e0-old-1.0")
    )
    return Plan(
        tasks=(*first, *second, *short, scattered("m0-sum", ["k0-calc"]), *last),
        gates=(gate,),
        alive={"e0-old-1.0": Batch(system="slurm", id="4711", index=3)},
    )


def rendered(plan: Plan, target: Target = TARGET) -> dict[str, str]:
    """Return the files of a submission by path."""
    made = scripts.files(plan, LAB, target, submission_id="20260101-000000-abcdef")
    return {file.path: file.text for file in made}


def test_scripts_are_as_recorded(golden: Callable[[str, str], None]) -> None:
    """Whole files, rendered twice."""
    files = rendered(everything())

    assert files == rendered(everything())
    for path, text in files.items():
        if path not in ("slurm.sh", "slurm-job.sh", "again.sh"):
            golden(f"slurm/{path}", text.replace(runner_code.folder(), "RUNNER"))


def _on_disk(folder: Path, files: dict[str, str]) -> list[Path]:
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return sorted(folder.rglob("*.sh"))


@pytest.mark.slow
def test_bash_reads_every_script(tmp_path: Path) -> None:
    for script in _on_disk(tmp_path, rendered(everything())):
        subprocess.run(["bash", "-n", script], check=True)


@pytest.mark.slow
@pytest.mark.needs("shellcheck")
def test_shellcheck_has_nothing_to_say(tmp_path: Path) -> None:
    scripts = _on_disk(tmp_path, rendered(everything()))
    said = subprocess.run(
        ["shellcheck", "--external-sources", "--exclude=SC2016", *scripts],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert "" == said.stdout


@pytest.mark.slow
def test_directives_survive_a_shells_reading() -> None:
    """Slurm reads quotes as bash does: the words behind #SBATCH are the values asked for."""
    script = rendered(everything())["sbatch/1-run_s.it_s_a_stage_HOME_x_.sh"]
    words = " ".join(
        line.removeprefix("#SBATCH ") for line in script.splitlines() if line.startswith("#SBATCH")
    )
    said = subprocess.run(
        ["bash", "-c", f'printf "%s\\n" {words}'], capture_output=True, text=True, check=True
    )

    assert {
        "--account=a#b c",
        "--constraint=a|b&c",
        "--exclusive",
        "--nice=0",
        "--mem=3073M",
        "--time=01:30:00",
        "--array=0-2%50",
        "--requeue",
        "--kill-on-invalid-dep=yes",
        "--export=NONE",
    } <= set(said.stdout.splitlines())
    assert "--overcommit" not in script


def test_a_site_replaces_single_blocks(tmp_path: Path) -> None:
    (tmp_path / "sbatch.sh.j2").write_text(
        '{% extends "repx/sbatch.sh.j2" %}{% block environment %}source /site/setup\n{% endblock %}'
    )
    target = dataclasses.replace(TARGET, templates=str(tmp_path))
    files = rendered(Plan(tasks=(task("a-b"),)), target)
    script = files["sbatch/1-run_s.b.sh"]

    assert "source /site/setup" in script
    assert "SLURM_EXPORT_ENV" not in script
    assert "repx_run" in script


def test_sbatch_opts_come_last_by_their_long_names() -> None:
    asked = Resources(sbatch_opts=("'--account=x y'", "-p main", "--exclusive", "-N", "2"))
    lines = [directives.line(each) for each in directives.of_resources(TARGET, asked)]

    assert ["--account='x y'", "--partition=main", "--exclusive", "--nodes=2"] == lines[-4:]


def test_a_refused_option_names_its_job() -> None:
    fine, bad = task("a-fine", sbatch_opts=("-p x",)), task("a-fit", sbatch_opts=("--out=/etc/x",))

    directives.check([fine])
    with pytest.raises(InputError, match=r"^job a-fit-1\.0: sbatch_opts: '--out=/etc/x' sets "):
        directives.check([fine, bad])


def test_a_refused_option_of_a_step_names_its_job() -> None:
    steps = scattered("a-sum")
    bad = dataclasses.replace(steps.units[1], ladder=(Resources(sbatch_opts=("--hold",)),))

    with pytest.raises(InputError, match=r"^job a-sum-1\.0: sbatch_opts: '--hold' sets --hold"):
        directives.check([dataclasses.replace(steps, units=(steps.units[0], bad))])


@pytest.mark.parametrize("value", ["a\nb", "a\rb"])
def test_a_value_of_two_lines_is_refused(value: str) -> None:
    with pytest.raises(InputError, match="line break"):
        directives.line(("--account", value))


def test_words_that_are_no_words_are_refused() -> None:
    with pytest.raises(InputError, match="No closing quotation"):
        list(directives.of_resources(TARGET, Resources(sbatch_opts=("--account='x",))))


@pytest.mark.parametrize(
    ("seconds", "text"), [(60, "00:01:00"), (86399, "23:59:59"), (90061, "1-01:01:01")]
)
def test_times_as_slurm_reads_them(seconds: int, text: str) -> None:
    assert text == units.slurm_time(seconds)


@pytest.mark.parametrize(("time_s", "before_s"), [(None, 60), (30, 5), (300, 30), (36000, 60)])
def test_short_jobs_keep_most_of_their_time(time_s: int | None, before_s: int) -> None:
    assert before_s == directives.warning(TARGET, time_s)[0]


def test_what_slurm_cannot_wait_for_is_said() -> None:
    plan = Plan(tasks=(task("b", ["a"]),), alive={"a-1.0": Agent("20260101-000000-abcdef")})

    with pytest.raises(SchedulerError, match=r"job a-1\.0 waits or runs where Slurm cannot wait"):
        batches.make(plan, TARGET, max_array_size=10)


def test_a_known_limit_on_jobs_cuts_arrays_to_what_can_be_queued_at_once() -> None:
    slurm = dataclasses.replace(TARGET.slurm, max_submit=4)
    target = dataclasses.replace(TARGET, slurm=slurm)
    one = task("a-many")
    many = [
        dataclasses.replace(one, job=dataclasses.replace(one.job, id=f"a{i}-many-1.0"))
        for i in range(10)
    ]
    made = batches.make(Plan(tasks=tuple(many)), target, max_array_size=1000)

    assert [3, 3, 3, 1] == [len(call.jobs) for call in made.calls]


@pytest.mark.parametrize(
    ("on", "again"), [(tuple(RetryReason), 2), ((RetryReason.OOM, RetryReason.TIMEOUT), 0)]
)
def test_only_a_plain_failure_is_tried_again_within_a_slurm_job(
    on: tuple[RetryReason, ...], again: int
) -> None:
    """What was ended for its memory or time would meet the same limit."""
    one = dataclasses.replace(task("a-one"), retries=Retries(n=2, on=on))
    files = rendered(Plan(tasks=(one,)))
    (script,) = (text for path, text in files.items() if "1-" in path and "again" not in path)

    assert f"retries={again} " in script


def calls_of(plan: Plan, **options: object) -> dict[str, tuple[str, ...]]:
    """Return what each call waits for, with these options of the target."""
    slurm = dataclasses.replace(TARGET.slurm, **options)  # type: ignore[arg-type]  # by name
    text = rendered(plan, dataclasses.replace(TARGET, slurm=slurm))["submit.sh"]
    lines = (line.split() for line in text.splitlines() if line.startswith("submit "))
    return {name: tuple(conditions) for _, name, _, *conditions in lines}


def test_so_many_jobs_of_a_submission_run_at_once() -> None:
    """The third of three calls waits for the end of both before it."""
    tasks = (task("a-one"), task("b-two"), task("c-three"))
    found = calls_of(Plan(tasks=tasks), max_running=2)

    assert [(), (), ("afterany=1-run_s.one,2-run_s.two",)] == list(found.values())


def test_jobs_of_others_are_waited_for_by_one_job_that_stands_for_them() -> None:
    """So that, where failed jobs may be tried again, only that job waits for them for ever."""
    tasks = (task("a-one", after=("4711", "4712_3")), task("b-two", after=("4711", "4712_3")))
    found = calls_of(Plan(tasks=tasks))

    assert ["afterok=4711,4712_3"] == list(found["1-join"])
    assert [("afterok=1-join",)] * 2 == list(found.values())[1:]


def test_behind_what_may_be_tried_again_waits_a_job_for_its_failure() -> None:
    """Who waits for any end waits for that job's, too; who waits for success stays in the queue."""
    on = (RetryReason.OOM,)
    first = dataclasses.replace(task("a-one"), retries=Retries(n=1, on=on, mem=2.0))
    gate = Gate(run="run's", type=DependencyType.SOFT, jobs=(first.job.id,))
    soft = dataclasses.replace(task("c-three"), gates=(0,))
    plan = Plan(tasks=(first, task("b-two", ["a-one"]), soft), gates=(gate,))
    found = calls_of(plan)
    files = rendered(plan)

    assert ("afternotok=1-run_s.one",) == found["1-run_s.one.again"]
    assert ("afterok=1-run_s.one",) == found["2-run_s.two"]
    assert ("afterany=1-run_s.one,1-run_s.one.again",) == found["3-run_s.three"]
    assert "--kill-on-invalid-dep=no" in files["sbatch/2-run_s.two.sh"]
    assert "1-run_s.one\t1\toom\n" == files["tries.tsv"]


def test_a_job_of_another_submission_that_is_tried_again_is_waited_for_through_it() -> None:
    by = Batch(system="slurm", id="4711", index=3, again="4712")
    plan = Plan(tasks=(task("b-two", ["a-one"]),), alive={"a-one-1.0": by})
    files = rendered(plan)

    assert {"1-run_s.two": ("afterok=4711_3",)} == calls_of(plan)
    assert "--kill-on-invalid-dep=no" in files["sbatch/1-run_s.two.sh"]


def test_a_script_names_the_parameters_in_which_its_elements_differ() -> None:
    """For who looks after the cluster: `3` of an array says little."""
    one = task("a-fit")
    jobs = [
        dataclasses.replace(
            one.job, id=f"a{number}-fit-1.0", params={"lr": number / 10, "n": 3, "who": "x\ny"}
        )
        for number in range(2)
    ]
    tasks = tuple(dataclasses.replace(one, job=job) for job in jobs)
    script = rendered(Plan(tasks=tasks))["sbatch/1-run_s.fit.sh"]

    assert "  [0]=a0-fit-1.0 # lr=0.0\n  [1]=a1-fit-1.0 # lr=0.1\n" in script
