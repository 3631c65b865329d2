"""What a job asks for: defaults, then its Lab, then matching rules, field by field."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from repx import document
from repx.config import rules
from repx.config.entry import Entry
from repx.config.resources import Resolver
from repx.errors import ProblemsError
from repx.model import Executable, Hints, Job, Run, StageType
from repx.target import Resources, Rules
from tests.made import made_lab

GIB: Final = 1024**3
JOB: Final = Job(
    id="0abc-train-1.0",
    name="train-1.0",
    stage_type=StageType.SIMPLE,
    params={},
    executables={"main": Executable(path="x")},
    hints=Hints(mem="2G", cpus=2, sbatch_opts=("--account=lab",)),
)
FAN: Final = Job(
    id="1abc-fan-1.0",
    name="fan-1.0",
    stage_type=StageType.SCATTER_GATHER,
    params={},
    executables={
        "scatter": Executable(path="s", hints=Hints(mem="3G")),
        "step-a": Executable(path="a", hints=Hints(cpus=5)),
        "step-b": Executable(path="b", deps=("a",)),
        "gather": Executable(path="g"),
    },
    hints=Hints(mem="2G"),
)
LAB: Final = made_lab(
    runs={
        "one": Run(name="one", metadata="", jobs=(JOB.id, FAN.id)),
        "two": Run(name="two", metadata="", jobs=(JOB.id,)),
    },
    jobs={JOB.id: JOB, FAN.id: FAN},
)


def read(text: str) -> Rules:
    """Return the rules of a resources file of that text."""
    doc = document.loads(text, "r.yaml")
    document.check(doc, "resources.schema.json")
    return rules.read(Entry.root(doc))


def ask(resolver: Resolver, job: Job, phase: str | None = None) -> Resources:
    """Return what a phase of a job asks for; without a name, the first."""
    found = next(each for each in job.phases if phase in (None, each.name))
    return resolver(job, "one", found)


def resolve(text: str, job: Job = JOB, phase: str | None = None) -> Resources:
    """Return what a job asks for by a resources file."""
    return ask(Resolver(LAB, "cluster", read(text)), job, phase)


def test_without_any_file_the_lab_decides() -> None:
    asked = resolve("{}")

    assert (2 * GIB, 2, None) == (asked.mem_bytes, asked.cpus, asked.time_s)
    assert {"mem_bytes": "Lab", "cpus": "Lab", "sbatch_opts": "Lab"} == asked.sources


def test_defaults_yield_to_the_lab_and_rules_win_field_by_field() -> None:
    asked = resolve(
        """
defaults: {mem: 1G, time: 10, partition: p, exclusive: true, options: {nice: 1}}
rules:
  - {mem: 3G, cpus: 3, options: {nice: 2}}
  - {stage: train, cpus: 4, gpus: 1, sbatch_opts: [--x]}
  - {stage: other, cpus: 5}
"""
    )

    assert (
        Resources(
            cpus=4,
            mem_bytes=3 * GIB,
            time_s=600,
            partition="p",
            sbatch_opts=("--x",),
            slurm={"nice": 2, "exclusive": True, "gpus": 1},
            sources={
                "mem_bytes": "r.yaml:4 rule 1 (every job)",
                "time_s": "r.yaml:2 defaults",
                "partition": "r.yaml:2 defaults",
                "cpus": "r.yaml:5 rule 2 (stage train)",
                "sbatch_opts": "r.yaml:5 rule 2 (stage train)",
                "slurm.nice": "r.yaml:4 rule 1 (every job)",
                "slurm.exclusive": "r.yaml:2 defaults",
                "slurm.gpus": "r.yaml:5 rule 2 (stage train)",
            },
        )
        == asked
    )


@pytest.mark.parametrize(
    ("condition", "applies"),
    [
        ("job: '*-train-*'", True),
        ("job: 0abc-train-1.0", True),
        ("job: train", False),
        ("job: '*-Train-*'", False),
        ("job: '0ab?-train-1.0'", True),
        ("job: '[0]abc-train-1.0'", False),
        ("job: [nothing, '*-1.0']", True),
        ("job_id_glob: '*-train-*'", True),
        ("stage: train", True),
        ("stage: t*", True),
        ("stage: tra", False),
        ("run: one", True),
        ("run: two", True),
        ("run: three", False),
        ("target: cluster", True),
        ("target: clus", False),
        ("stage: train, run: three", False),
    ],
)
def test_rule_applies_when_all_its_conditions_hold(condition: str, applies: bool) -> None:  # noqa: FBT001
    asked = resolve(f"rules: [{{{condition}, cpus: 9}}]")

    assert applies == (asked.cpus == 9)


def test_rule_for_a_run_does_not_reach_jobs_of_another() -> None:
    assert resolve("rules: [{run: two, cpus: 9}]", FAN).cpus is None


def test_steps_get_the_job_then_their_hints_then_the_last_matching_rule() -> None:
    text = """
rules:
  - {cpus: 3, time: 5, step_resources: {mem: 7G}}
  - {stage: fan, mem: 4G, step_resources: {time: 9}}
"""

    assert (4 * GIB, 5, 540) == sizes(resolve(text, FAN, "step-a"))
    assert (4 * GIB, 3, 540) == sizes(resolve(text, FAN, "step-b"))
    asked = resolve(text, FAN, "step-b")
    assert asked.sources["time_s"] == "r.yaml:4 rule 2 (stage fan) step_resources"


def test_last_matching_rule_without_step_resources_adds_none() -> None:
    text = "rules: [{step_resources: {cpus: 8}}, {stage: fan, time: 5}]"

    assert resolve(text, FAN, "step-b").cpus is None
    assert resolve(text, FAN).cpus is None


def test_scatter_and_gather_get_their_hints_before_the_rules() -> None:
    assert (3 * GIB, None, None) == sizes(resolve("{}", FAN, "scatter"))
    assert (2 * GIB, None, None) == sizes(resolve("{}", FAN, "gather"))
    assert (9 * GIB, None, None) == sizes(resolve("rules: [{mem: 9G}]", FAN, "scatter"))


def sizes(asked: Resources) -> tuple[int | None, int | None, int | None]:
    """Return memory in bytes, cores and seconds."""
    return asked.mem_bytes, asked.cpus, asked.time_s


def test_hints_nobody_understands_are_ignored_with_one_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    hints = Hints(mem="much", time="UNLIMITED", cpus=3)
    resolver = Resolver(LAB, "cluster", Rules())
    caplog.set_level(logging.WARNING)

    asked = [ask(resolver, replace(JOB, id=f"{i}abc-train-1.0", hints=hints)) for i in range(5)]

    assert {(None, 3, None)} == {sizes(each) for each in asked}
    assert [
        "job 0abc-train-1.0: the Lab asks for mem, ignored: 'much' is not an amount of memory",
        "job 0abc-train-1.0: the Lab asks for time, ignored: 'UNLIMITED' is not a span of time",
    ] == caplog.messages


@pytest.mark.parametrize(("mem", "count"), [("4.5G", 4_831_838_208), ("4GB", 4 * GIB), ("7", 7)])
def test_lab_may_spell_memory_in_more_ways_than_its_format(mem: str, count: int) -> None:
    job = replace(JOB, hints=Hints(mem=mem))

    assert count == resolve("{}", job).mem_bytes


def test_jobs_that_ask_for_the_same_share_one_answer() -> None:
    """A Lab of 100,000 jobs has few different answers."""
    resolver = Resolver(LAB, "cluster", read("rules: [{job: '*7-*', cpus: 9}]"))

    asked = [ask(resolver, replace(JOB, id=f"{i}-train-1.0")) for i in range(100)]

    assert len({id(each) for each in asked}) == 2
    assert [i for i in range(100) if i % 10 == 7] == [
        i for i, each in enumerate(asked) if each.cpus == 9
    ]


def test_file_of_repx_0_5_is_read(tmp_path: Path) -> None:
    path = tmp_path / "resources.toml"
    path.write_text(
        """
[defaults]
time = "00:20:00"
[[rules]]
job_id_glob = "*-fan-*"
target = "cluster"
cpus-per-task = 12
mem = "64G"
[rules.worker_resources]
mem = "16G"
"""
    )
    found = rules.load(path, {})

    resolver = Resolver(LAB, "cluster", found)
    assert (64 * GIB, 12, 1200) == sizes(ask(resolver, FAN))
    assert (16 * GIB, 12, 1200) == sizes(ask(resolver, FAN, "step-b"))
    assert (
        ask(resolver, FAN)
        .sources["cpus"]
        .endswith("resources.toml rule 1 (job *-fan-*, target cluster)")
    )


def test_mistakes_in_a_file_come_together(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text("defaults: {mem: 4}\nrules:\n  - {jobs: x, cpus: 0}\n")

    with pytest.raises(ProblemsError) as caught:
        rules.load(path, {"HOME": str(tmp_path)})

    assert [
        f"{path}:1:12: mem: 4 is a whole number, wanted a string like 512M, 4G, 1.5G, 4GiB",
        f"{path}:3:6: unknown key 'jobs', did you mean 'job'?",
        f"{path}:3:15: cpus: 0 is less than 1",
    ] == [str(problem) for problem in caught.value.problems]


def test_mail_of_single_jobs_is_an_option_like_any_other() -> None:
    asked = resolve("rules: [{options: {mail-type: END}}]")

    assert {"mail-type": "END"} == asked.slurm


@pytest.mark.parametrize(
    ("written", "option"),
    [
        ("nodes: 2", ("nodes", 2)),
        ("nodes: 2-4", ("nodes", "2-4")),
        ("ntasks: 8", ("ntasks", 8)),
        ("exclusive: true", ("exclusive", True)),
        ("exclusive: false", ("exclusive", False)),
        ("exclusive: user", ("exclusive", "user")),
        ("ntasks_per_node: 4", ("ntasks-per-node", 4)),
        ("licenses: 'matlab:2'", ("licenses", "matlab:2")),
        ("reservation: course", ("reservation", "course")),
    ],
)
def test_keys_of_slurm_are_options_of_sbatch(written: str, option: tuple[str, object]) -> None:
    name, value = option
    asked = resolve(f"rules: [{{{written}}}]")

    assert {name: value} == asked.slurm
    assert {f"slurm.{name}"} == {key for key in asked.sources if key.startswith("slurm.")}


def test_later_files_win() -> None:
    both = read("defaults: {cpus: 1, time: 1}\nrules: [{mem: 1G}]") + read(
        "defaults: {cpus: 8}\nrules: [{mem: 8G}]"
    )

    asked = ask(Resolver(LAB, "cluster", both), FAN)

    assert (8 * GIB, 8, 60) == sizes(asked)


def test_what_was_said_before_can_be_taken_back() -> None:
    """`KEY: null` in a rule: of a profile's defaults, and of an option that its block sets."""
    asked = resolve(
        "defaults: {mem: 2G, time: 1h, partition: main, after: [4711]}\n"
        "rules: [{mem: null, partition: null, gres: null, account: null, after: null}]"
    )

    assert (None, 3600, None) == (asked.memory, asked.time_s, asked.partition)
    assert () == asked.after
    assert {"gres": False, "account": False} == asked.slurm
    assert "mem_bytes" not in asked.sources


@pytest.mark.parametrize(
    ("said", "total"),
    [
        ("defaults: {mem: 2G}\nrules: [{mem_per_cpu: 1G, cpus: 3}]", 3),
        ("defaults: {mem_per_cpu: 2G}\nrules: [{mem: 1G}]", 1),
        ("defaults: {mem: 2G}\nrules: [{mem_per_gpu: 2G, gpus: 'a100:4'}]", 8),
    ],
)
def test_of_the_three_ways_to_ask_for_memory_the_last_counts(said: str, total: int) -> None:
    asked = resolve(said)

    assert total * GIB == asked.memory
    assert 1 == len([one for one in (asked.mem_bytes, asked.mem_per_cpu, asked.mem_per_gpu) if one])


@pytest.mark.parametrize(
    ("said", "count"),
    [("gpus: 2", 2), ("gpus: a100", 1), ("gpus: 'a100:2,v100:1'", 3), ("gres: 'gpu:a100:2'", 2)],
)
def test_gpus_are_counted_whatever_their_type(said: str, count: int) -> None:
    assert count == resolve(f"rules: [{{{said}}}]").gpus


def test_two_ways_to_ask_for_memory_at_once_are_a_mistake() -> None:
    doc = document.loads("defaults: {mem: 1G, mem_per_cpu: 1G}", "r.yaml")
    root = Entry.root(doc)
    rules.read(root)

    assert ["r.yaml:1:21: 'mem' and 'mem_per_cpu' exclude each other: keep one"] == [
        str(problem) for problem in root.problems
    ]
