"""Values in conditions: what numpy, pandas and Python's own types hand out finds its jobs."""

from __future__ import annotations

import datetime as dt
import enum
import json
import logging
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repx.errors import InputError
from repx.model import Executable, Job, Run, StageType
from repx.results.lab import Lab
from repx.results.values import key, plain
from tests.made import made_lab

VALUES: list[Any] = [
    True,
    False,
    1,
    2,
    0.1,
    "1",
    "data/x.csv",
    "2024-01-31",
    None,
    [1, 2],
    [64, 64, 10],
    [True],
    {"a": [1]},
    10**20,
]


def lab_of(*params: dict[str, Any]) -> Lab:
    """Return a Lab with a job of the stage ``s`` for each set of parameters."""
    jobs = {
        f"{number:08d}-s-1.0": Job(
            id=f"{number:08d}-s-1.0",
            name="s-1.0",
            stage_type=StageType.SIMPLE,
            params=each,
            executables={"main": Executable(path="jobs/x")},
        )
        for number, each in enumerate(params)
    }
    run = Run(name="r", metadata="revision/metadata-r.json", jobs=tuple(jobs))
    return Lab(made_lab({"r": run}, jobs), path=Path("result"), store=Path("/nowhere"))


@pytest.fixture
def lab() -> Lab:
    return lab_of(*({"x": value} for value in VALUES))


def found(lab: Lab, **conditions: object) -> list[object]:
    return [job.params["x"] for job in lab.jobs(**conditions)]


class Colour(enum.Enum):
    ONE = 1
    SIZES = (64, 64, 10)


class Text(str, enum.Enum):  # noqa: UP042  # as code before Python 3.11 has it
    TABLE = "data/x.csv"


@pytest.mark.parametrize("value", VALUES, ids=json.dumps)
def test_each_value_finds_itself_alone(lab: Lab, value: object) -> None:
    others = [each for each in VALUES if each is not value]

    assert found(lab, x=value) == [value]
    assert found(lab, x__in=[value]) == [value]
    assert found(lab, x__ne=value) == others
    assert found(lab, x__in=others) == others


@pytest.mark.parametrize(
    ("wanted", "value"),
    [
        (1.0, 1),
        (Decimal("0.1"), 0.1),
        (Decimal(1), 1),
        (Fraction(2), 2),
        (Colour.ONE, 1),
        (Colour.SIZES, [64, 64, 10]),
        (Text.TABLE, "data/x.csv"),
        (Path("data/x.csv"), "data/x.csv"),
        (dt.date(2024, 1, 31), "2024-01-31"),
        (dt.timedelta(seconds=2), 2),
        ((1, 2), [1, 2]),
        (range(1, 3), [1, 2]),
        ((True,), [True]),
        ({"a": (1.0,)}, {"a": [1]}),
        (float("nan"), None),
        (1e20, 10**20),
    ],
    ids=repr,
)
def test_python_value_finds_its_equal(lab: Lab, wanted: object, value: object) -> None:
    assert found(lab, x=wanted) == [value]
    assert found(lab, x__in=[wanted]) == [value]
    assert len(found(lab, x__ne=wanted)) == len(VALUES) - 1


def test_numpy_value_finds_its_equal(lab: Lab) -> None:
    numpy = pytest.importorskip("numpy")

    for wanted, value in (
        (numpy.bool_(True), True),  # noqa: FBT003  # the type is the point
        (numpy.int8(1), 1),
        (numpy.float64(1), 1),
        (numpy.float32(0.1), 0.1),
        (numpy.longdouble("0.1"), 0.1),
        (numpy.str_("1"), "1"),
        (numpy.array([1, 2]), [1, 2]),
        (numpy.array([64, 64, 10], dtype="float32"), [64, 64, 10]),
        (numpy.array([True]), [True]),
        (numpy.array(2), 2),
        (numpy.nan, None),
    ):
        assert found(lab, x=wanted) == [value], repr(wanted)
        assert found(lab, x__in=[wanted]) == [value], repr(wanted)
    assert found(lab, x__in=numpy.array([1, 2, 7])) == [1, 2]
    assert found(lab, x__in=numpy.array([[1, 2]])) == [[1, 2]]


def test_pandas_value_finds_its_equal(lab: Lab) -> None:
    pandas = pytest.importorskip("pandas")

    for wanted in (pandas.NA, pandas.NaT):
        assert found(lab, x=wanted) == [None]
    assert found(lab, x=pandas.Series([1, 2])) == [[1, 2]]
    assert found(lab, x__in=pandas.Series(["1", "z"], dtype="string")) == ["1"]
    assert found(lab, x__in=pandas.Index([1, 2])) == [1, 2]
    assert found(lab, x__in=pandas.Categorical(["1"])) == ["1"]
    assert found(lab, x__in=pandas.array([1, None], dtype="Int64")) == [1, None]


def test_every_value_of_a_data_frame_finds_its_rows() -> None:
    pytest.importorskip("pandas")
    lab = lab_of(
        *(
            {"flag": flag, "i": i, "w": w}
            for flag in (True, False)
            for i, w in ((1, 0.5), (2, None))
        )
    )
    frame = lab.jobs().to_dataframe()

    for column in ("flag", "i", "w"):
        for value in frame[column].unique():
            assert len(lab.jobs(where={column: value})) == 2
        assert len(lab.jobs(where={f"{column}__in": frame[column].unique()})) == 4
    assert len(lab.jobs(where=frame.iloc[0][["flag", "i", "w"]])) == 1


@pytest.mark.parametrize(
    "wanted",
    [b"x", {1}, frozenset({1}), 1j, object(), iter([1]), dt.datetime(2024, 1, 31)],  # noqa: DTZ001
    ids=lambda value: type(value).__name__,
)
def test_what_no_parameter_can_be_is_an_error(lab: Lab, wanted: object) -> None:
    for condition in ({"x": wanted}, {"x__ne": wanted}, {"x__in": [wanted]}):
        with pytest.raises(InputError, match="no job has a value of type"):
            lab.jobs(**condition)


@pytest.mark.parametrize("wanted", [None, float("nan")])
def test_what_has_no_order_is_an_error(wanted: object) -> None:
    with pytest.raises(InputError, match="greater"):
        lab_of({"x": 1}).jobs(x__gt=wanted)


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ("1", "x='1' is text, but every job's x is a number"),
        (True, "x=True is true or false, but"),
        ([1], "x=[1] is a list, but"),
        (None, "x=None is null, but"),
    ],
    ids=repr,
)
def test_value_of_a_kind_that_no_job_has_is_pointed_out(
    caplog: pytest.LogCaptureFixture, wanted: object, said: str
) -> None:
    lab = lab_of({"x": 1}, {"x": 2.5}, {})
    with caplog.at_level(logging.WARNING, "repx"):
        assert len(lab.jobs(x=wanted)) == 0
        assert said in caplog.text
        caplog.clear()
        lab.jobs(x=3)

        assert not caplog.text


def test_parameter_that_no_selected_job_has_is_pointed_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    lab = lab_of({"x": 1}, {"y": 1})
    with caplog.at_level(logging.WARNING, "repx"):
        assert len(lab.jobs(x=1).filter(y=1)) == 0

    assert "none of these jobs has the parameter 'y'" in caplog.text


def test_nested_parameter_is_found_by_the_name_of_its_column() -> None:
    pytest.importorskip("pandas")
    lab = lab_of(
        {"cfg": {"lr": 0.1, "opt": {"name": "sgd"}}},
        {"cfg": {"lr": 0.2, "opt": {"name": "adam"}}},
        {"cfg.lr": 0.1},
        {"cfg": {}},
    )

    assert {"cfg.lr", "cfg.opt.name"} <= {*lab.jobs().to_dataframe().columns}
    assert [job.id[:8] for job in lab.jobs(where={"cfg.lr": 0.1})] == ["00000000", "00000002"]
    assert [job.id[:8] for job in lab.jobs(**{"cfg.lr__gt": 0.1})] == ["00000001"]
    assert [job.id[:8] for job in lab.jobs(**{"param_cfg.opt.name": "sgd"})] == ["00000000"]
    assert [job.id[:8] for job in lab.jobs(cfg={})] == ["00000003"]


@pytest.mark.parametrize("name", ["lr", "cfg__lr"])
def test_name_inside_a_mapping_is_suggested(name: str) -> None:
    with pytest.raises(InputError, match="unknown") as caught:
        lab_of({"cfg": {"lr": 0.1}}).jobs(**{name: 0.1})

    assert caught.value.hint == 'where={"cfg.lr": ...}'


def test_list_contains_its_elements_not_parts_of_them() -> None:
    lab = lab_of({"x": [64, 10]}, {"x": [6]}, {"x": "64"})

    assert found(lab, x__contains=64) == [[64, 10], "64"]
    assert found(lab, x__contains=6) == [[6], "64"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


def alike(one: Any, other: Any) -> bool:  # noqa: ANN401  # JSON values
    """Say what equality of JSON values means, the slow way."""
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(alike(one[k], other[k]) for k in one)
    return isinstance(one, bool) == isinstance(other, bool) and one == other


@given(JSON, JSON)
def test_keys_are_equal_for_equal_values_only(one: object, other: object) -> None:
    assert (key(one) == key(other)) == alike(one, other)


@given(JSON)
def test_json_is_plain_already(value: object) -> None:
    assert alike(plain(value), value)
