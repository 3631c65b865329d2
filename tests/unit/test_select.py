"""Which jobs a user's words mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from repx import select
from repx.errors import InputError
from repx.lab.load import open_lab
from repx.model import Executable, Job, Lab, Run, StageType
from tests.made import made_lab

if TYPE_CHECKING:
    from pathlib import Path

CALC: Final = "10sgmr1mmqli7v6dff4nm61x1wa3fpg8-calc-1.0"


@pytest.fixture(scope="module")
def sweep(labs: Path) -> Lab:
    return open_lab(labs / "sweep").lab


@pytest.fixture(scope="module")
def two_runs(labs: Path) -> Lab:
    return open_lab(labs / "simple-two-runs").lab


def lab_of(*ids: str) -> Lab:
    main = Executable(path="store/x")
    jobs = {
        each: Job(
            id=each,
            name=each,
            stage_type=StageType.SIMPLE,
            params={},
            executables={"main": main},
        )
        for each in ids
    }
    return made_lab(
        runs={"all": Run(name="all", metadata="revision/metadata-all.json", jobs=ids)},
        jobs=jobs,
    )


def test_nothing_named_means_every_run(two_runs: Lab) -> None:
    chosen = select.jobs(two_runs, [])

    assert tuple(two_runs.jobs) == chosen


def test_a_run_means_its_jobs(two_runs: Lab) -> None:
    chosen = select.jobs(two_runs, ["analysis-run"])

    assert two_runs.runs["analysis-run"].jobs == chosen


def test_a_group_means_the_jobs_of_its_runs(two_runs: Lab) -> None:
    assert select.jobs(two_runs, ["simulation-run"]) == select.jobs(two_runs, ["@compute"])
    assert select.jobs(two_runs, []) == select.jobs(two_runs, ["@all"])


@pytest.mark.parametrize("word", [CALC, "10s"], ids=["whole id", "unique prefix"])
def test_a_job_can_be_named_by_id_or_prefix(sweep: Lab, word: str) -> None:
    chosen = select.jobs(sweep, [word])

    assert (CALC,) == chosen


def test_words_add_up_and_each_job_counts_once(two_runs: Lab) -> None:
    chosen = select.jobs(two_runs, ["analysis-run", "@all", "15h0"])

    assert tuple(two_runs.jobs) == chosen


def test_stages_narrow_the_selection_down(sweep: Lab) -> None:
    chosen = select.jobs(sweep, ["sweep-run"], ["prep"])

    assert {"prep"} == {sweep.jobs[job].stage for job in chosen}
    assert 2 == len(chosen)
    assert tuple(sweep.jobs) == select.jobs(sweep, [], ["prep", "calc"])


def test_an_id_that_begins_another_is_not_ambiguous() -> None:
    lab = lab_of("abc-x", "abc-x-y")

    assert ("abc-x",) == select.jobs(lab, ["abc-x"])
    assert "abc-x" == select.one_job(lab, "abc-x")


@pytest.mark.parametrize(
    ("word", "message", "hint"),
    [
        ("swep-run", "no run, group or job named 'swep-run'", "did you mean 'sweep-run'?"),
        ("zzz", "no run, group or job named 'zzz'", "runs: sweep-run, @all"),
        ("", "no run, group or job named ''", "runs: sweep-run, @all"),
        ("@al", "no group '@al' in this Lab", "did you mean '@all'?"),
        ("@zzz", "no group '@zzz' in this Lab", "groups: @all"),
        ("@", "no group '@' in this Lab", "groups: @all"),
        (
            "0",
            "'0' begins the ids of 2 jobs: 07jc6m1amxzh-calc-1.0, 0ypgx111gm4d-calc-1.0",
            "type more of the id",
        ),
    ],
    ids=["typo", "unknown", "empty", "group typo", "group", "no group", "ambiguous"],
)
def test_a_word_that_means_nothing_or_too_much_is_explained(
    sweep: Lab, word: str, message: str, hint: str
) -> None:
    with pytest.raises(InputError) as caught:
        select.jobs(sweep, [word])

    assert message == caught.value.message
    assert hint == caught.value.hint


def test_many_candidates_are_counted_not_all_listed(sweep: Lab) -> None:
    with pytest.raises(InputError, match=r"6 jobs: .* and 1 more"):
        select.jobs(sweep, ["1"])


def test_a_lab_without_groups_says_so(labs: Path) -> None:
    with pytest.raises(InputError, match="no group '@all': this Lab has none"):
        select.jobs(open_lab(labs / "scatter-gather").lab, ["@all"])


def test_a_stage_that_no_chosen_job_has_is_explained(two_runs: Lab) -> None:
    with pytest.raises(InputError, match="no job of stage 'stage-analysi'") as caught:
        select.jobs(two_runs, ["analysis-run"], ["stage-analysi"])

    assert "did you mean 'stage-analysis'?" == caught.value.hint


def test_a_run_with_one_final_job_means_that_job(two_runs: Lab) -> None:
    assert "stage-c-total" == two_runs.jobs[select.one_job(two_runs, "simulation-run")].stage


def test_a_run_with_several_final_jobs_means_none(sweep: Lab) -> None:
    with pytest.raises(InputError, match="run 'sweep-run' ends in 6 jobs, one is needed"):
        select.one_job(sweep, "sweep-run")


def test_one_job_takes_a_prefix(sweep: Lab) -> None:
    assert CALC == select.one_job(sweep, "10s")
