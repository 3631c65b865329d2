"""What programs are given, by the rules of the format."""

from __future__ import annotations

import pytest

from repx import launch
from repx.errors import LabError
from repx.launch import BRANCH, Launch
from repx.model import DependencyType, Executable, Input, Job, Lab, Run, StageType
from tests.made import made_lab


def _simple(name: str, *given: Input, outputs: dict[str, object] | None = None) -> Job:
    main = Executable(path=f"jobs/{name}/bin/x", inputs=given, outputs=outputs or {})
    return Job(
        id=name, name=name, stage_type=StageType.SIMPLE, params={}, executables={"main": main}
    )


def _phased(
    steps: dict[str, tuple[str, ...]], *of_step: Input, gather: tuple[Input, ...] = ()
) -> Job:
    executables = {
        "scatter": Executable(
            path="s",
            outputs={"work__items": "$out/work_items.json", "worker__arg": {"a": 0}, "s": "$out/s"},
            inputs=(
                Input(target="list", job_id="up", source_output="o"),
                Input(target="extra", job_id="up", source_output="o"),
            ),
        ),
        "gather": Executable(path="g", inputs=gather, outputs={"o": "$out/o"}),
    }
    for step, deps in steps.items():
        executables[f"step-{step}"] = Executable(
            path=step, deps=deps, inputs=of_step, outputs={"o": "$out/$out.o"}
        )
    return Job(
        id="sg",
        name="sg",
        stage_type=StageType.SCATTER_GATHER,
        params={},
        executables=executables,
    )


UP = _simple("up", outputs={"o": "$out/a b/$out", "d": {"no": "file"}})


def _lab(*jobs: Job) -> Lab:
    return made_lab(
        id="lab1",
        runs={"first": Run(name="first", metadata="revision/x.json", jobs=("up",))},
        jobs={job.id: job for job in (UP, *jobs)},
    )


def _launches(job: Job, *others: Job) -> dict[str, Launch]:
    launches = launch.of_job(_lab(job, *others), "/b", job, lambda path: f"/b/artifacts/{path}")
    return {it.phase: it for it in launches}


def _main(job: Job, *others: Job) -> Launch:
    return _launches(job, *others)["main"]


def test_a_program_is_given_its_folder_and_two_files() -> None:
    it = _main(_simple("j"))

    home = "/b/outputs/j"
    assert [
        "/b/artifacts/jobs/j/bin/x",
        f"{home}/out",
        f"{home}/repx/inputs.json",
        f"{home}/repx/parameters.json",
    ] == it.words


def test_phases_keep_their_files_apart() -> None:
    found = _launches(_phased({"a": ()}))

    home, branch = "/b/outputs/sg", f"/b/outputs/sg/branch-{BRANCH}/step-a"
    assert {
        "scatter": (f"{home}/scatter", f"{home}/repx/inputs.json"),
        "step-a": (branch, f"{branch}/repx/inputs.json"),
        "gather": (home, f"{home}/repx/gather_inputs.json"),
    } == {name: (it.folder, it.inputs_file) for name, it in found.items()}
    assert {f"{home}/repx/parameters.json"} == {it.parameters_file for it in found.values()}


def test_a_producer_s_template_is_filled_wherever_it_says_out() -> None:
    job = _simple("j", Input(target="x", job_id="up", source_output="o"))

    assert {"x": "/b/outputs/up/out/a b//b/outputs/up/out"} == _main(job).inputs


def test_a_producer_in_phases_gives_what_its_gather_makes() -> None:
    producer = _phased({"a": ()})
    job = _simple("j", Input(target="x", job_id="sg", source_output="o"))

    assert {"x": "/b/outputs/sg/out/o"} == _main(job, producer).inputs


def test_the_store_and_the_metadata_of_other_runs_are_given() -> None:
    job = _simple(
        "j",
        Input(target="store__base", type="global"),
        Input(
            target="metadata__first",
            type="inter-run",
            source_run="first",
            dependency_type=DependencyType.SOFT,
        ),
        Input(target="metadata__gone", source_run="gone"),
    )

    assert {
        "store__base": "/b",
        "metadata__first": "/b/artifacts/revision/lab1-metadata-first.json",
    } == _main(job).inputs


def test_steps_get_their_item_their_siblings_and_what_scatter_got() -> None:
    job = _phased(
        {"a": (), "b": ("a",)},
        Input(target="worker__item", source="scatter:work_item"),
        Input(target="x", source="step:a", source_output="o"),
        Input(target="list", job_id="up", source_output="o"),
        Input(target="store__base", type="global"),
        Input(target="extra"),
        Input(target="unknown"),
    )
    branch = f"/b/outputs/sg/branch-{BRANCH}"

    assert {
        "worker__item": f"{branch}/repx/work_item.json",
        "x": f"{branch}/step-a/out/{branch}/step-a/out.o",
        "list": "/b/outputs/up/out/a b//b/outputs/up/out",
        "store__base": "/b",
        "extra": "/b/outputs/up/out/a b//b/outputs/up/out",
    } == _launches(job)["step-b"].inputs


def test_gather_gets_what_scatter_got_and_what_scatter_and_the_steps_made() -> None:
    job = _phased(
        {"a": ()},
        gather=(
            Input(target="worker__outs", source="runner:worker_outputs", source_key="o"),
            Input(target="mine", job_id="self", source_output="s"),
        ),
    )

    assert {
        "list": "/b/outputs/up/out/a b//b/outputs/up/out",
        "extra": "/b/outputs/up/out/a b//b/outputs/up/out",
        "worker__outs": "/b/outputs/sg/repx/worker_outs_manifest.json",
        "mine": "/b/outputs/sg/scatter/out/s",
    } == _launches(job)["gather"].inputs


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (Input(target="x", job_id="gone", source_output="o"), "there is no job gone"),
        (Input(target="x", job_id="up", source_output="no"), "up makes no output 'no'"),
        (Input(target="x", job_id="up", source_output="d"), "up makes no output 'd'"),
    ],
    ids=["job", "output", "description"],
)
def test_a_lab_that_contradicts_itself_is_refused(given: Input, why: str) -> None:
    job = _simple("j", given)

    with pytest.raises(LabError) as caught:
        _main(job)

    assert f"job j: input 'x' has no source: {why}" == caught.value.message


def test_descriptions_are_no_outputs() -> None:
    assert {"o": "/x/a b//x"} == launch.outputs(UP.final, "/x")


def test_steps_come_after_those_they_need_and_the_last_is_the_sink() -> None:
    job = _phased({"c": ("b",), "a": (), "b": ("a",)})

    assert {
        "scatter": (),
        "step-a": ("scatter",),
        "step-b": ("step-a",),
        "step-c": ("step-b",),
        "gather": ("step-c",),
    } == {phase.name: phase.needs for phase in job.phases}
    assert ["step-a", "step-b", "step-c"] == [it.name for it in job.phases if it.per_branch]


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        (
            {"a": ("b",), "b": ("a",)},
            "job sg: the steps ['a', 'b'] wait for each other or for no step",
        ),
        ({"a": ("x",)}, "job sg: the steps ['a'] wait for each other or for no step"),
    ],
)
def test_steps_in_a_circle_are_refused(steps: dict[str, tuple[str, ...]], message: str) -> None:
    with pytest.raises(LabError) as caught:
        _ = _phased(steps).phases

    assert message == caught.value.message


def test_two_last_steps_are_refused() -> None:
    with pytest.raises(LabError) as caught:
        _ = _phased({"a": (), "b": ()}).phases

    assert (
        "job sg: one step must be the last, but 2 are: ['step-a', 'step-b']" == caught.value.message
    )
