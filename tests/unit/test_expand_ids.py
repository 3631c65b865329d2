"""The ids of jobs: as the format wants them, and changed by what a job depends on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repx.lab.expand import compact, nix_hash
from tests.blueprints import Raw, expanded, feed, run, stage


def test_hash_is_the_one_nix_prints() -> None:
    assert nix_hash("") == "0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73"[:32]


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (1.0, "1.0"),
        (-0.0, "-0.0"),
        (0.1, "0.1"),
        (123456.75, "123456.75"),
        (1e15, "1000000000000000.0"),
        (1e16, "1e+16"),
        (1.5e300, "1.5e+300"),
        (0.0001, "0.0001"),
        (0.00001, "0.00001"),
        (1.5e-5, "0.000015"),
        (1e-6, "1e-6"),
        (-2.5e-7, "-2.5e-7"),
        (7, "7"),
        (True, "true"),
        ('é\n"\\\x01', '"é\\n\\"\\\\\\u0001"'),
        ({"b": [1, None], "a": {}}, '{"a":{},"b":[1,null]}'),
    ],
)
def test_json_is_written_as_serde_json_writes_it(number: object, text: str) -> None:
    assert compact(number) == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_survives_its_text(number: float) -> None:
    assert float(compact(number)) == number


def nix_path(lab: Path, program: str, name: str) -> Raw:
    """Return a recorded script as the recording's ids count it."""
    text = (lab / program).read_text(encoding="utf-8")
    return {"label": name, "text": text, "identity": f"/nix/store/{nix_hash(text)}-{name}"}


def recorded(lab: Path, run_name: str) -> dict[str, Raw]:
    text = (lab / "revision" / f"metadata-{run_name}.json").read_text(encoding="utf-8")
    jobs: dict[str, Raw] = json.loads(text)["jobs"]
    return jobs


def recorded_stage(lab: Path, jobs: dict[str, Raw], pname: str, **fields: Any) -> Raw:  # noqa: ANN401
    """Return the stage that a recorded Lab's jobs were made from."""
    job = next(job for job in jobs.values() if job["name"] == f"{pname}-1.0")

    def input_of(mapping: Raw) -> Raw:
        found = {key: value for key, value in mapping.items() if value is not None}
        producer = found.pop("job_id_template", None)
        found.pop("job_id", None)
        return found | ({"stage": producer} if producer else {})

    executables = {}
    for name, each in job["executables"].items():
        label = f"{each['path'].rpartition('/')[2]}-script-1.0"
        executables[name] = {
            "script": nix_path(lab, each["path"], label),
            "inputs": [input_of(mapping) for mapping in each["inputs"]],
            "outputs": each["outputs"],
            "resources": each.get("resource_hints"),
            "deps": each.get("deps"),
        }
    entry = executables["scatter" if "scatter" in executables else "main"]
    return {
        "key": pname,
        "pname": pname,
        "version": "1.0",
        "stage_type": job["stage_type"],
        "input_mappings": entry["inputs"],
        "resources": job.get("resource_hints"),
        "executables": executables,
        **fields,
    }


def without_nulls(value: Any) -> Any:  # noqa: ANN401  # any JSON
    if isinstance(value, dict):
        return {key: without_nulls(each) for key, each in value.items() if each is not None}
    return [without_nulls(each) for each in value] if isinstance(value, list) else value


RECORDED: Final[dict[tuple[str, str], tuple[dict[str, Raw], Raw]]] = {
    ("simple-two-runs", "simulation-run"): (
        {
            "stage-c-total": {},
            "stage-b-transform": {"parameters": {"factor": 3}},
            "stage-a-generate": {"parameters": {"count": 5, "offset": 0}},
        },
        {"parameter_axes": {"offset": [10], "count": [5], "factor": [3]}},
    ),
    ("sweep", "sweep-run"): (
        {
            "calc": {"parameters": {"factor": 1, "label": "none"}},
            "prep": {"parameters": {"seed": 0}},
        },
        {
            "parameter_axes": {"seed": [1, 2]},
            "zip_groups": [
                {
                    "members": ["factor", "label"],
                    "values": [
                        {"factor": 2, "label": "two"},
                        {"factor": 3, "label": "three"},
                        {"factor": 5, "label": "five"},
                    ],
                }
            ],
        },
    ),
    ("scatter-gather", "sg-run"): (
        {
            "b-square-sum": {"parameters": {"addend": 0}},
            "a-make-list": {"parameters": {"n": 4}},
            "c-report": {},
        },
        {"parameter_axes": {"n": [4], "addend": [10]}},
    ),
}


@pytest.mark.parametrize("which", RECORDED, ids=lambda which: which[0])
def test_recorded_labs_come_out_the_same(
    labs: Path, tmp_path: Path, which: tuple[str, str]
) -> None:
    """Ids and metadata equal those of the recording, also where consumers are named first."""
    folder, run_name = which
    stages, fields = RECORDED[which]
    jobs = recorded(labs / folder, run_name)
    parts = [recorded_stage(labs / folder, jobs, name, **each) for name, each in stages.items()]

    found = expanded(tmp_path, run(run_name, *parts, **fields))

    assert without_nulls(jobs) == found


def test_an_id_covers_the_upstream_also_of_a_stage_that_sorts_first(tmp_path: Path) -> None:
    producer = stage("z", parameters={"seed": 0})
    consumer = stage("a", feed("z", "out"))

    jobs = expanded(tmp_path, run("r", consumer, producer, parameter_axes={"seed": [1, 2, 3]}))

    assert sorted(job["name"] for job in jobs.values()) == ["a-1.0"] * 3 + ["z-1.0"] * 3


@pytest.mark.parametrize(
    "change",
    [
        {"text": "echo other\n"},
        {"version": "1.1"},
        {"parameters": {"seed": 1}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_changed_stage_changes_its_job_and_those_behind_it(tmp_path: Path, change: Raw) -> None:
    behind = stage("b", feed("a", "out"))

    before = expanded(tmp_path, run("r", stage("a", parameters={"seed": 0}), behind))
    after = expanded(
        tmp_path, run("r", stage("a", **({"parameters": {"seed": 0}} | change)), behind)
    )

    assert before.keys().isdisjoint(after)


def test_params_only_ignores_the_script(tmp_path: Path) -> None:
    before = expanded(tmp_path, run("r", stage("a", text="one\n"), hash_mode="params-only"))
    after = expanded(tmp_path, run("r", stage("a", text="two\n"), hash_mode="params-only"))

    assert before == after


def test_a_run_that_others_need_counts_with_all_its_jobs(tmp_path: Path) -> None:
    mapping = {
        "type": "inter-run",
        "source_run": "first",
        "dependency_type": "soft",
        "target_input": "metadata__first",
    }
    second = run("second", stage("report", mapping), inter_run_dep_types={"first": "soft"})

    def report(seeds: list[int]) -> str:
        first = run("first", stage("a", parameters={"seed": 0}), parameter_axes={"seed": seeds})
        jobs = expanded(tmp_path, second, first)
        return next(jid for jid, job in jobs.items() if job["name"] == "report-1.0")

    assert report([1, 2]) == report([2, 1])
    assert report([1, 2]) != report([1, 2, 3])


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("90m", "01:30:00"),
        ("1d2h", "1-02:00:00"),
        ("30s", "00:00:30"),
        ("{n}m", "00:07:00"),
        ("00:10:00", "00:10:00"),
        ("5", "5"),
    ],
)
def test_time_with_units_is_told_as_slurm_takes_it(tmp_path: Path, written: str, told: str) -> None:
    jobs = expanded(
        tmp_path, run("r", stage("a", parameters={"n": 7}, resources={"time": written}))
    )

    assert [told] == [job["resource_hints"]["time"] for job in jobs.values()]
