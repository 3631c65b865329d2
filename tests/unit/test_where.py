"""`--where NAME=VALUE` finds values as people write them."""

from __future__ import annotations

from typing import Any, Final

import pytest

from repx.cli import where
from repx.errors import InputError
from repx.model import Executable, Job, Lab, Run, StageType
from tests.made import made_lab

VALUES: Final[dict[str, dict[str, Any]]] = {
    "float": {"lr": 0.1},
    "small": {"lr": 1e-05},
    "int": {"lr": 1},
    "text": {"lr": "0.1 x=%ü\n"},
    "list": {"lr": [1, 2.5]},
    "true": {"lr": True},
    "none": {"lr": None},
    "nested": {"opt": {"lr": 3, "a=b": 4}},
}


@pytest.fixture
def lab() -> Lab:
    jobs = {
        name: Job(
            id=name,
            name=name,
            stage_type=StageType.SIMPLE,
            params=params,
            executables={"main": Executable(path="jobs/x")},
        )
        for name, params in VALUES.items()
    }
    return made_lab({"r": Run(name="r", metadata="m", jobs=tuple(jobs))}, jobs)


@pytest.mark.parametrize(
    ("condition", "job"),
    [
        ("lr=0.1", "float"),
        ("lr=.1e0", None),
        ("lr=1e-1", "float"),
        ("lr=0.10", "float"),
        ("lr=1e-5", "small"),
        ("lr=1", "int"),
        ("lr=1.0", "int"),
        ("lr=0.1 x=%ü\n", "text"),
        ("lr=[1, 2.5]", "list"),
        ("lr=[1,2.5]", "list"),
        ("lr=[2.5,1]", None),
        ("lr=true", "true"),
        ("lr=True", "true"),
        ("lr=null", "none"),
        ("lr=None", "none"),
        ("lr=", None),
        ("opt.lr=3", "nested"),
        ("opt.a=b=4", "nested"),
        ('opt={"lr": 3, "a=b": 4}', "nested"),
    ],
)
def test_values_as_people_write_them(
    lab: Lab, condition: str, job: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    found = where.chosen(lab, list(VALUES), [condition])

    assert ((job,) if job else ()) == found
    assert ("there are: 0.1, 1e-05, 1, " in capsys.readouterr().err) is (job is None)


def test_all_conditions_hold_and_jobs_keep_their_order(lab: Lab) -> None:
    assert ("int",) == where.chosen(lab, ["true", "int", "float"], ["lr=1", "lr=1.0"])
    assert () == where.chosen(lab, ["true", "int"], ["lr=1", "lr=true"])
    assert ("true", "int") == where.chosen(lab, ["true", "int"], [])


@pytest.mark.parametrize(
    ("condition", "hint"),
    [
        ("lr", "--where lr=0.1"),
        ("=1", "--where lr=0.1"),
        ("", "--where lr=0.1"),
        ("Lr=1", "there are: lr"),
        ("x y=1", "there are: lr"),
        ("lr.x=1", "did you mean 'lr'"),
    ],
)
def test_what_is_no_condition_says_what_to_type(lab: Lab, condition: str, hint: str) -> None:
    with pytest.raises(InputError) as error:
        where.chosen(lab, ["float", "int"], [condition])

    assert hint in str(error.value.hint)
