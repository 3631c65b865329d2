"""repx_py on a target on another machine: files come when they are asked for, and once."""

from __future__ import annotations

import logging
import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from repx_py import Lab

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.real.place import Place
    from tests.real.sshd import Sshd

pytestmark = [pytest.mark.real, pytest.mark.needs("ssh")]

LAB: Final[dict[str, Any]] = {
    "stages": {
        "a": {
            "parameters": {"n": 1},
            "outputs": {"x": "$out/x.json", "folder": "$out/folder"},
            "run": 'mkdir "${outputs[folder]}"; echo "${parameters[n]}" >"${outputs[x]}"; '
            'echo in >"$out/folder/file"; echo big >"$out/other"; echo said',
        },
        "sum": {"inputs": ["x"], "outputs": {"y": "$out/y"}, "run": 'cp "${inputs[x]}" "$out/y"'},
    },
    "pipelines": {"m": ["a", "sum"]},
    "runs": {"r": {"parameters": {"n": [1, 2, 3]}}},
}


@pytest.fixture
def far(
    defined: Callable[..., Place], sshd: Sshd, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Place:
    """Return a place behind ssh whose jobs have run; this process stands in its folder."""
    here = defined(LAB)
    here.use(address="far", ssh_config=str(sshd.config))
    here.repx("run")
    monkeypatch.chdir(here.folder)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return here


def brought(tmp_path: Path) -> list[str]:
    files = (tmp_path / "cache").rglob("out/*")
    return sorted(path.name for path in files if path.is_file())


def trips(caplog: pytest.LogCaptureFixture) -> int:
    count = sum("round trip" in record.getMessage() for record in caplog.records)
    caplog.clear()
    return count


def test_only_what_is_asked_for_is_brought(far: Place, tmp_path: Path) -> None:
    lab = Lab.from_path("result", target="here")
    job = lab.jobs(stage="a", n=2)[0]

    assert "succeeded" == job.status
    assert "said\n" == job.stdout
    assert [] == brought(tmp_path)
    assert 2 == job.load("x")
    assert ["x.json"] == brought(tmp_path)
    assert "in\n" == (job.outputs["folder"] / "file").read_text()
    assert "big\n" == job.output("other").read_text()
    assert far.folder not in job.path.parents
    assert {"x", "folder"} == set(job.outputs)
    inputs = lab.jobs(stage="sum", n=3)[0].inputs
    assert "3\n" == inputs["x"].read_text()


def test_many_files_take_as_many_round_trips_as_one(
    far: Place, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert far.store.is_dir()
    lab = Lab.from_path("result", target="here")
    assert lab.store.names("outputs")
    caplog.set_level(logging.DEBUG, "repx")
    lab.jobs(stage="a").fetch("x")

    assert 2 == trips(caplog)
    assert [1, 2, 3] == sorted(job.load_json("x") for job in lab.jobs(stage="a"))
    assert 0 == trips(caplog)
    assert 3 == len(brought(tmp_path))
    lab.jobs().to_dataframe()
    assert trips(caplog) <= 8


def test_what_has_changed_there_is_brought_by_a_lab_that_is_opened_again(far: Place) -> None:
    job = Lab.from_path("result", target="here").jobs(stage="a", n=1)[0]
    assert 1 == job.load("x")
    path = next(far.store.glob(f"outputs/{job.id}/out/x.json"))
    path.write_text("7\n")
    again = pickle.loads(pickle.dumps(job))  # noqa: S301  # our own

    assert again == job
    assert 7 == Lab.from_path("result", target="here").job(job.id).load("x")
    path.unlink()
    with pytest.raises(Exception, match="is missing"):
        Lab.from_path("result", target="here").job(job.id).output("x")
