"""Each example in both forms: the same jobs, parameters and results."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from repx.lab.build import build
from repx.lab.load import open_lab

if TYPE_CHECKING:
    from repx.model import Lab
    from tests.nix.machine import Nix

pytestmark = [pytest.mark.real, pytest.mark.needs("nix", "bwrap")]

EXAMPLES: Final = Path(__file__).parents[2] / "examples"
NAMES: Final = ("compression", "monte-carlo")


@pytest.fixture(params=NAMES)
def example(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Return a copy of an example whose name is the folder's."""
    name: str = request.param
    folder = tmp_path / name
    shutil.copytree(EXAMPLES / name, folder)
    return folder


def of_yaml(folder: Path) -> Path:
    return build(folder / "lab.yaml", folder / "result", lambda *_: None).path


def of_nix(nix: Nix, name: str) -> Path:
    return nix.build(f"(import {nix.project} {{ inherit pkgs; }}).examples.{name}")


def described(lab: Lab) -> dict[str, list[Any]]:
    """Return each run's jobs without what identifies software: names, values, upstream jobs."""
    seen: dict[str, str] = {}

    def job(job_id: str) -> str:
        if job_id not in seen:
            found = lab.jobs[job_id]
            phases = {
                name: [
                    sorted(each.outputs),
                    sorted((each.target, each.source_output or "") for each in each.inputs),
                    sorted(each.deps),
                ]
                for name, each in found.executables.items()
            }
            needs = sorted(job(need) for need in lab.needs[job_id])
            hints = str(found.hints)
            name = job_id[33:].rpartition("-")[0]
            seen[job_id] = json.dumps([name, dict(found.params), phases, hints, needs], default=str)
        return seen[job_id]

    return {
        name: [str(dict(run.dependencies)), *sorted(job(each) for each in run.jobs)]
        for name, run in lab.runs.items()
    }


def test_both_forms_give_the_same_jobs(nix: Nix, example: Path) -> None:
    yaml, ours = open_lab(of_yaml(example)).lab, open_lab(of_nix(nix, example.name)).lab

    assert described(yaml) == described(ours)


def test_both_forms_give_the_same_results(nix: Nix, tmp_path: Path) -> None:
    folder = tmp_path / "monte-carlo"
    shutil.copytree(EXAMPLES / "monte-carlo", folder)
    by_nix = str(of_nix(nix, "monte-carlo")).removeprefix(str(nix.store))
    found = []
    for form, lab in (("yaml", str(of_yaml(folder))), ("nix", by_nix)):
        target = tmp_path / form
        target.mkdir()
        (target / "targets.yaml").write_text(
            "targets: {local: {base_path: s, runtime: native}}\n", encoding="utf-8"
        )
        command = [sys.executable, "-m", "repx", "run", "estimate", "report", "--lab", lab]
        path = f"/usr/bin:/bin:{os.environ['PATH']}"  # the Python that both use
        ran = subprocess.run(
            nix.inside(*command),
            capture_output=True,
            check=False,
            cwd=target,
            env={**os.environ, "PATH": path},
            text=True,
        )
        assert ran.returncode == 0, ran.stderr
        reports = list(target.glob("s/outputs/*convergence*/out/report.md"))
        estimates = sorted(
            path.read_text() for path in target.glob("s/outputs/*/out/estimate.json")
        )
        found.append((reports[0].read_text(), estimates))

    assert found[0] == found[1]
