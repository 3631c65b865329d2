"""How often the store is asked for outputs that are gone: as often for many jobs as for one."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest

from repx import gone
from repx import store as stores
from repx.model import Executable, Input, Job, StageType
from tests.made import made_lab

if TYPE_CHECKING:
    from pathlib import Path

    from repx.store import Store


@dataclass
class Counted:
    """The files of a store; counts the verbs that are asked for. Mutable: it counts."""

    files: object
    asked: Counter[str] = field(default_factory=Counter)

    def __getattr__(self, verb: str) -> Any:  # noqa: ANN401, D105  # whatever the files have
        self.asked[verb] += 1
        return getattr(self.files, verb)


def finished(store: Store, count: int) -> list[Job]:
    main = Executable(path="x", outputs={"o": "$out/o"})
    jobs = [
        Job(
            id=f"{number:032}-s-1",
            name="s-1",
            stage_type=StageType.SIMPLE,
            params={},
            executables={"main": main},
        )
        for number in range(count)
    ]
    for job in jobs:
        store.write(f"outputs/{job.id}/repx/SUCCESS", b'{"outcome":"success"}')
        store.write(f"outputs/{job.id}/out/o", b"")
    return jobs


@pytest.mark.parametrize("count", [2, 200])
def test_many_jobs_take_two_round_trips_and_one_where_nothing_is_gone(
    tmp_path: Path, count: int
) -> None:
    store = stores.local(str(tmp_path))
    jobs = finished(store, count)
    files = Counted(store.files)
    counted = stores.Store(store.place, store.root, files)

    assert {} == gone.outputs(counted, jobs)
    assert {"kinds": 1} == files.asked
    store.remove(f"outputs/{jobs[0].id}/out/o")
    assert {jobs[0].id: ("o",)} == gone.outputs(counted, jobs)
    assert {"kinds": 2, "read_many": 1} == files.asked


@pytest.mark.parametrize("count", [1, 100])
def test_inputs_of_jobs_about_to_run_take_one_round_trip(tmp_path: Path, count: int) -> None:
    store = stores.local(str(tmp_path))
    first, second = finished(store, 2)
    reads = (Input(target="in", job_id=first.id, source_output="o"),)
    users = [
        replace(
            second, id=f"{number:032}-u-1", executables={"main": Executable(path="y", inputs=reads)}
        )
        for number in range(count)
    ]
    lab = made_lab(runs={}, jobs={job.id: job for job in (first, second, *users)})
    files = Counted(store.files)
    counted = stores.Store(store.place, store.root, files)
    store.remove(f"outputs/{second.id}/out/o")

    assert {} == gone.inputs(counted, lab, users, [first.id, second.id])
    assert {"kinds": 1} == files.asked
    assert {} == gone.inputs(counted, lab, users, [])
    assert {"kinds": 1} == files.asked
    store.remove(f"outputs/{first.id}/out/o")
    assert {first.id: ("o",)} == gone.inputs(counted, lab, users, [first.id, second.id])
