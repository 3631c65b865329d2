"""A SUCCESS that a power cut left empty or torn is none; that of RepX 0.5 is empty and counts."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.real.place import Place

pytestmark = pytest.mark.real

LAB: Final[dict[str, object]] = {
    "name": "markers",
    "stages": {
        "plain": {"outputs": {"x": "$out/x"}, "run": 'echo ran >>"$TRACE"\necho x >x\n'},
        "spread": {
            "inputs": ["x"],
            "scatter": {"run": 'echo scatter >>"$TRACE"\necho "[1,2]" >work_items.json\n'},
            "steps": {
                "one": {
                    "inputs": ["worker__item"],
                    "run": 'echo step >>"$TRACE"\necho z >z\n',
                    "outputs": {"z": "$out/z"},
                },
            },
            "gather": {"run": 'echo gather >>"$TRACE"\n'},
        },
    },
    "pipelines": {"main": ["plain", "spread"]},
    "runs": {"r": {}},
}
TORN: Final[dict[str, Callable[[bytes], bytes]]] = {
    "empty": lambda _: b"",
    "cut off": lambda text: text[: len(text) // 2],
    "without its end": lambda text: text[:-1],
    "zeros": lambda text: bytes(len(text)),
}


@pytest.fixture
def here(defined: Callable[..., Place], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setenv("TRACE", str(tmp_path / "trace"))
    monkeypatch.setenv("REPX_GRACE_S", "1")
    place = defined(LAB)
    place.repx("run")
    (tmp_path / "trace").write_text("")
    return place


def _home(here: Place, stage: str) -> Path:
    (found,) = here.store.glob(f"outputs/*-{stage}*")
    return found


def _ran(tmp_path: Path) -> list[str]:
    return sorted((tmp_path / "trace").read_text().split())


@pytest.mark.parametrize("kind", TORN)
def test_a_torn_success_is_named_and_the_job_runs_again(
    here: Place, tmp_path: Path, kind: str
) -> None:
    marker = _home(here, "plain") / "repx/SUCCESS"
    marker.write_bytes(TORN[kind](marker.read_bytes()))

    states = here.states()
    said = here.repx("status")
    here.repx("run")

    assert "lost" == states[marker.parents[1].name]
    assert f"{marker.parent}: SUCCESS is empty or torn" in said
    assert "ran" in _ran(tmp_path)
    assert {"succeeded"} == set(here.states().values())
    assert b'"outcome":"success"' in marker.read_bytes()


@pytest.mark.parametrize("by_hand", [False, True], ids=["runner", "bash"])
@pytest.mark.parametrize("kind", ["empty", "zeros"])
def test_a_torn_success_of_a_phase_makes_it_run_again(
    here: Place, tmp_path: Path, kind: str, *, by_hand: bool
) -> None:
    home = _home(here, "spread")
    for part in ("", "branch-1/step-one/"):
        marker = home / part / "repx/SUCCESS"
        marker.write_bytes(TORN[kind](marker.read_bytes()))

    if by_hand:
        (script,) = here.store.glob(f"submissions/*/jobs/{home.name}.sh")
        subprocess.run(["bash", str(script)], check=True, timeout=60)
    else:
        here.repx("run")

    assert ["gather", "step"] == _ran(tmp_path)
    assert {"succeeded"} == set(here.states().values())


def test_a_torn_scatter_runs_again(here: Place, tmp_path: Path) -> None:
    home = _home(here, "spread")
    (home / "repx/SUCCESS").write_bytes(b"")
    (home / "scatter/repx/SUCCESS").write_bytes(b"")
    (home / "scatter/out/work_items.json").write_bytes(b"")

    here.repx("run")

    assert "scatter" in _ran(tmp_path)
    assert {"succeeded"} == set(here.states().values())


def test_an_empty_success_of_repx_0_5_counts(here: Place, tmp_path: Path) -> None:
    """It leaves no lock; after an attempt of ours it leaves a file of its own, which is newer."""
    plain, spread = _home(here, "plain"), _home(here, "spread")
    for home in (plain, spread):
        (home / "repx/SUCCESS").write_bytes(b"")
    (plain / "repx/lock").unlink()
    theirs = spread / ".repx.repx-cache.json"
    theirs.write_text("{}")
    later = (spread / "repx/lock").stat().st_mtime_ns + 10**9
    os.utime(theirs, ns=(later, later))

    assert {"succeeded"} == set(here.states().values())
    assert "nothing to do" in here.repx("run")
    assert [] == _ran(tmp_path)
