"""Which GPUs the local scheduler shares, and who gets which."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from repx.config import targets
from repx.errors import ProblemsError
from repx.runner import gpus
from repx.runner.admission import Admission
from repx.runner.dag import Dag
from repx.runner.units import Unit
from repx.schedulers.contract import Limits

if TYPE_CHECKING:
    from pathlib import Path


def unit_of(task: int, gpus: int) -> Unit:
    alone = {"unit": "main", "needs": [], "per_branch": False, "ask": 0}
    told = {"needs": [], "gates": [], "waits": [], "job": "j", "run": "r", "units": [alone]}
    graph = Dag([{**told, "retries": {"n": 0, "on": []}} for _ in range(task + 1)], [])
    return Unit(graph, task, [[{"cpus": 1, "mem": None, "time": None, "gpus": gpus}]])


def load(tmp_path: Path, said_of_gpus: str) -> targets.Targets:
    text = f"targets: {{here: {{base_path: /store, local: {{gpus: {said_of_gpus}}}}}}}\n"
    (tmp_path / "targets.yaml").write_text(text, encoding="utf-8")
    return targets.load(None, cwd=tmp_path, env={"HOME": str(tmp_path)})


def test_a_gpu_is_given_to_one_job_at_a_time() -> None:
    admission = Admission(jobs=9, cpus=9, mem=0, gpus=["2", "GPU-5f3c", "7"])
    for task, count in enumerate([1, 2, 1, 9]):
        admission.push(unit_of(task, gpus=count))
    first, second = (admission.pop(lambda _unit: True) for _ in range(2))
    assert first
    assert second
    assert admission.pop(lambda _unit: True) is None
    admission.give_back(first)
    third = admission.pop(lambda _unit: True)
    assert third
    for unit in (second, third):
        admission.give_back(unit)
    all_of_them = admission.pop(lambda _unit: True)

    assert all_of_them
    assert [("2",), ("GPU-5f3c", "7"), ("2",), ("2", "GPU-5f3c", "7")] == [
        unit.given_gpus for unit in (first, second, third, all_of_them)
    ]


def test_gpus_that_nobody_knows_are_not_counted() -> None:
    admission = Admission(jobs=9, cpus=9, mem=0)
    for task in range(3):
        admission.push(unit_of(task, gpus=4))

    assert all(admission.pop(lambda _unit: True) for _ in range(3))
    assert not admission.too_large(unit_of(9, gpus=4))


@pytest.mark.parametrize(
    ("count", "around", "names"),
    [
        (None, {"CUDA_VISIBLE_DEVICES": "3,GPU-5f3c"}, ["3", "GPU-5f3c"]),
        (None, {"ROCR_VISIBLE_DEVICES": "1"}, ["1"]),
        (None, {"CUDA_VISIBLE_DEVICES": ""}, []),
        (None, {"CUDA_VISIBLE_DEVICES": "-1"}, []),
        (1, {"CUDA_VISIBLE_DEVICES": "3,4"}, ["3"]),
        (2, {"CUDA_VISIBLE_DEVICES": ""}, ["0", "1"]),
    ],
)
def test_gpus_to_share_are_those_that_an_allocation_or_a_user_left(
    count: int | None, around: dict[str, str], names: list[str]
) -> None:
    assert names == gpus.shared(count, around)


def test_one_variable_names_a_program_its_gpus() -> None:
    assert {} == gpus.environment(b"", {})
    assert {b"CUDA_VISIBLE_DEVICES": b"1", b"CUDA_DEVICE_ORDER": b"FASTEST_FIRST"} == (
        gpus.environment(
            b"1", {b"CUDA_DEVICE_ORDER": b"FASTEST_FIRST", b"CUDA_VISIBLE_DEVICES": b"0,1"}
        )
    )
    assert {b"ROCR_VISIBLE_DEVICES": b"1"} == (
        gpus.environment(b"1", {b"ROCR_VISIBLE_DEVICES": b"0,1"})
    )


@pytest.mark.parametrize(
    ("said_of_gpus", "names", "words"),
    [
        ("2", 2, ("--gpus", "2")),
        ("[0, GPU-5f3c]", ("0", "GPU-5f3c"), ("--devices", "0,GPU-5f3c")),
        ("['3']", ("3",), ("--devices", "3")),
    ],
)
def test_gpus_of_this_machine_are_counted_or_named(
    tmp_path: Path, said_of_gpus: str, names: object, words: tuple[str, ...]
) -> None:
    found = targets.choose(load(tmp_path, said_of_gpus), None).local.gpus

    assert names == found
    assert words == Limits(gpus=found).words()


@pytest.mark.parametrize("wrong", ["0", "[]", "[0, 0]", "['a b']", "['0,1']", "all", "[-1]"])
def test_gpus_that_are_no_names_are_refused(tmp_path: Path, wrong: str) -> None:
    with pytest.raises(ProblemsError) as caught:
        load(tmp_path, wrong)

    assert "gpus" in str(caught.value)
