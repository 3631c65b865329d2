"""What `repx run` and `repx status` say of a job."""

from __future__ import annotations

from repx.cli import report
from repx.model import Executable, Input, Job, Lab, Run, StageType
from tests.made import made_lab


def job(name: str, params: dict[str, object], *needs: str) -> Job:
    inputs = tuple(Input(target=need, job_id=need, source_output="o") for need in needs)
    main = Executable(path=f"jobs/{name}/bin/x", inputs=inputs)
    return Job(
        id=name, name=name, stage_type=StageType.SIMPLE, params=params, executables={"main": main}
    )


def lab(*jobs: Job) -> Lab:
    ids = tuple(each.id for each in jobs)
    return made_lab(
        runs={"all": Run(name="all", metadata="", jobs=ids)},
        jobs={each.id: each for each in jobs},
    )


def test_a_job_is_told_apart_by_what_the_jobs_before_it_were_given() -> None:
    of = lab(job("a", {"seed": 1, "size": 5}), job("b", {"rate": 2, "size": 7}, "a"))

    assert report.parameters(of, "b") == {"rate": 2, "seed": 1, "size": 7}


def test_a_job_that_joins_several_values_of_a_parameter_is_not_told_by_one_of_them() -> None:
    of = lab(
        job("a1", {"seed": 1, "size": 5}),
        job("a2", {"seed": 2, "size": 5}),
        job("b", {}, "a1", "a2"),
    )

    assert report.parameters(of, "b") == {"size": 5}
