"""The whole library in one Lab: it builds, runs, and is what its definition says."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.nix.machine import Nix

pytestmark = [
    pytest.mark.xdist_group("nix"),
    pytest.mark.real,
    pytest.mark.needs("nix", "bwrap", "shellcheck"),
]

WHOLE: Final = "(import ./labs/whole.nix { inherit pkgs repx; })"


@pytest.fixture(scope="module")
def here(request: pytest.FixtureRequest) -> Path:
    return request.path.parent


@pytest.fixture(scope="module")
def lab(nix: Nix, here: Path) -> Path:
    return nix.build(f"{WHOLE}.lab", here)


def jobs_of(lab: Path, run: str) -> dict[str, Any]:
    text = (lab / f"revision/metadata-{run}.json").read_text(encoding="utf-8")
    jobs: dict[str, Any] = json.loads(text)["jobs"]
    return jobs


def test_functions_of_parameters_hold_for_each_combination(lab: Path) -> None:
    jobs = jobs_of(lab, "sweep")

    reports = {
        (job["name"], job["params"]["size"], job["resource_hints"]["mem"]): job
        for job in jobs.values()
        if job["name"].startswith("report")
    }
    assert set(reports) == {("report-short-1.1", 1, "16M"), ("report-long-1.1", 2, "128M")}
    outputs = {
        name[0]: job["executables"]["main"]["outputs"]["text"] for name, job in reports.items()
    }
    assert outputs == {"report-short-1.1": "$out/short.txt", "report-long-1.1": "$out/long.txt"}


def test_a_parameter_of_one_stage_only_is_its_own(lab: Path) -> None:
    jobs = jobs_of(lab, "sweep")

    assert {10} == {job["params"]["add"] for job in jobs.values() if "add" in job["params"]}


def test_resources_stay_with_their_stage(lab: Path) -> None:
    jobs = jobs_of(lab, "sweep")

    squares = [job for job in jobs.values() if job["stage_type"] == "scatter-gather"]
    hints = {
        name: executable.get("resource_hints")
        for name, executable in squares[0]["executables"].items()
    }
    assert hints == {
        "scatter": None,
        "step-extract": None,
        "step-square": {"mem": "32M"},
        "gather": None,
    }
    assert "resource_hints" not in squares[0]


def test_runs_groups_and_dependencies_have_their_real_names(lab: Path) -> None:
    top = json.loads((lab / "revision/metadata-top.json").read_text(encoding="utf-8"))

    assert top["groups"] == {"both": ["sweep", "analysis"]}
    assert top["runs"] == ["revision/metadata-sweep.json", "revision/metadata-analysis.json"]
    text = (lab / "revision/metadata-analysis.json").read_text(encoding="utf-8")
    assert json.loads(text)["dependencies"] == {"revision/metadata-sweep.json": "soft"}


def test_the_lab_of_one_run_has_the_runs_that_it_needs(nix: Nix, here: Path) -> None:
    alone = nix.build(f"{WHOLE}.runs.sweep", here)
    needing = nix.build(f"{WHOLE}.runs.analysis", here)

    assert ["metadata-sweep.json", "metadata-top.json"] == sorted(
        path.name for path in (alone / "revision").glob("metadata-*")
    )
    assert (needing / "revision/metadata-sweep.json").exists()
    assert not (alone / "images").exists()


def test_all_of_it_runs(nix: Nix, lab: Path, tmp_path: Path) -> None:
    (tmp_path / "targets.yaml").write_text(
        "targets: {local: {base_path: s, runtime: native}}\n", encoding="utf-8"
    )
    path = str(lab).removeprefix(str(nix.store))
    command = (sys.executable, "-m", "repx", "run", "analysis", "sweep", "--lab", path)

    ran = subprocess.run(
        nix.inside(*command), capture_output=True, check=False, cwd=tmp_path, text=True
    )

    assert ran.returncode == 0, ran.stderr
    texts = sorted(path.read_text() for path in tmp_path.glob("s/outputs/*report*/out/*.txt"))
    assert texts == ["25\nlong\n", "25\nshort\n", "44\nlong\n", "44\nshort\n"]
    assert ["8\n"] == [path.read_text() for path in tmp_path.glob("s/outputs/*look*/out/n")]
