"""`repx usage`: what jobs asked for beside what they used, and how much of it was wasted."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repx.lab.load import open_lab
from repx.reports.usage import Ended, of_programs, total

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.conftest import Repx

GIB = 1 << 30
SQUARES = "114nldsqgggscc8l3nkzg60njsdvwmrf-b-square-sum-1.0"


def ended(wall_s: float = 10, **fields: Any) -> Ended:  # noqa: ANN401  # an Ended's other fields
    return Ended(**({"stage": "fit", "phase": "main"} | fields), wall_s=wall_s)


def test_used_is_told_by_median_95th_percentile_and_maximum() -> None:
    (usage,) = of_programs(ended(wall_s, time_s=200) for wall_s in range(1, 101))

    time = usage.time_s
    assert (time.asked, time.median, time.p95, time.max) == ((200, 200), 50, 95, 100)
    assert (usage.programs, time.wasted) == (100, None)


def test_cores_used_are_processor_time_over_wall_time() -> None:
    (usage,) = of_programs([ended(3600, cpus=4, cpu_s=3600), ended(3600, cpus=2, cpu_s=7200)])

    assert (usage.cores.asked, usage.cores.median, usage.cores.max) == ((2, 4), 1, 2)
    assert usage.cores.wasted == pytest.approx(3)


def test_memory_that_was_not_used_is_wasted_as_long_as_the_program_ran() -> None:
    (usage,) = of_programs([ended(7200, mem_bytes=8 * GIB, rss_bytes=2 * GIB)])

    assert usage.mem_bytes.wasted == pytest.approx(12)


def test_using_more_than_was_asked_for_makes_up_for_nothing() -> None:
    (usage,) = of_programs([ended(3600, cpus=1, cpu_s=7200), ended(3600, cpus=1, cpu_s=0)])

    assert usage.cores.wasted == pytest.approx(1)


def test_what_is_unknown_is_not_counted() -> None:
    usages = of_programs([ended(cpus=4), ended(cpu_s=5, rss_bytes=GIB), ended(0, cpu_s=5)])

    (usage,) = usages
    assert (usage.cores.asked, usage.cores.median, usage.cores.wasted) == ((4, 4), 0.5, None)
    assert (usage.mem_bytes.asked, usage.mem_bytes.max) == (None, GIB)
    assert total(usages) == {"core_hours": None, "gb_hours": None}
    assert of_programs([]) == []


def test_phases_of_a_stage_are_told_apart() -> None:
    usages = of_programs([ended(phase="scatter"), ended(phase="gather"), ended(phase="scatter")])

    assert [(usage.phase, usage.programs) for usage in usages] == [("scatter", 2), ("gather", 1)]


@given(st.lists(st.floats(0, 1e6), min_size=1))
def test_quantiles_are_values_in_order(walls: list[float]) -> None:
    (usage,) = of_programs(map(ended, walls))

    found = [usage.time_s.median, usage.time_s.p95, usage.time_s.max]
    assert set(found) <= set(walls)
    assert found == sorted(found, key=lambda value: value or 0)
    assert usage.time_s.max == max(walls)


@pytest.fixture
def used(labs: Path, tmp_path: Path) -> Path:
    """Return a Lab whose jobs left markers in ./store: sweep, and in another the phases."""
    store = tmp_path / "store"
    (tmp_path / "targets.yaml").write_text(f"targets: {{local: {{base_path: {store}}}}}")
    for number, job in enumerate(open_lab(labs / "sweep").lab.jobs):
        mark(store, job, start=0, end=60 + number, cpu_s=30, rss_bytes=(number + 1) << 20)
    for phase in ("scatter", "branch-0/step-extract", "branch-1/step-extract"):
        mark(store, f"{SQUARES}/{phase}", start=0, end=10, cpu_s=5)
    mark(store, f"{SQUARES}/branch-1/step-square", "FAIL", start=0, end=10, cpu_s=5)
    mark(store, SQUARES, start=10, end=20, cpu_s=1)
    return labs / "sweep"


def mark(store: Path, place: str, name: str = "SUCCESS", **content: float) -> None:
    folder = store / "outputs" / place / "repx"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(content))


def test_table_names_stage_resource_and_waste(repx: Repx, used: Path) -> None:
    said = repx("usage", "-l", used)

    rows = [line.split("\t") for line in said.out.splitlines()]
    assert said.code == 0
    assert [row[:4] for row in rows] == [
        ["prep", "2", "time", "-"],
        ["prep", "2", "cores", "-"],
        ["prep", "2", "memory", "-"],
        ["calc", "6", "time", "1m"],
        ["calc", "6", "cores", "1"],
        ["calc", "6", "memory", "32M"],
    ]
    assert rows[4][3:] == ["1", "0.47", "0.5", "0.5", "0.06 core-h"]
    assert rows[5][3:] == ["32M", "3.0M", "7.0M", "7.0M", "0 GB-h"]
    assert said.err == "asked for and not used: 0.06 core-hours, 0 GB-hours\n"


def test_what_was_asked_for_then_counts_not_what_is_asked_now(
    repx: Repx, used: Path, tmp_path: Path
) -> None:
    for marker in (tmp_path / "store/outputs").glob("*-calc-1.0/repx/SUCCESS"):
        told = json.loads(marker.read_text())
        marker.write_text(json.dumps(told | {"cpus": 2, "mem": GIB, "time": None}))

    said = repx("usage", "-l", used, "--stage", "calc", "--json")

    (stage,) = json.loads(said.out)["stages"]
    assert [stage[each]["asked"] for each in ("cores", "mem_bytes", "time_s")] == [
        [2, 2],
        [GIB, GIB],
        None,
    ]


def test_one_stage_is_told_alone(repx: Repx, used: Path) -> None:
    said = repx("usage", "-l", used, "--stage", "calc", "--json")

    (stage,) = json.loads(said.out)["stages"]
    assert (stage["stage"], stage["programs"]) == ("calc", 6)
    assert stage["mem_bytes"]["asked"] == [32 << 20, 32 << 20]
    assert stage["cores"]["wasted"] == pytest.approx(0.06, abs=0.01)


def test_phases_are_read_from_their_own_marks(repx: Repx, used: Path, labs: Path) -> None:
    del used
    said = repx("usage", "-l", labs / "scatter-gather", "--json")

    told = [(each["phase"], each["programs"]) for each in json.loads(said.out)["stages"]]
    assert told == [("scatter", 1), ("step-extract", 2), ("step-square", 1), ("gather", 1)]


def test_nothing_has_ended_is_said(repx: Repx, labs: Path) -> None:
    said = repx("usage", "-l", labs / "sweep")

    assert (said.code, said.out) == (0, "")
    assert said.err == "no job has ended yet, or none says how long it took\n"


def test_unknown_stage_is_an_error(repx: Repx, used: Path) -> None:
    said = repx("usage", "-l", used, "-s", "clac")

    assert said.code == 2
    assert "did you mean 'calc'?" in said.err
