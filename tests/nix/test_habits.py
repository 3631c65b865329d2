"""Files written for RepX 0.5 build unmodified, and run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from tests.nix.machine import Nix

pytestmark = [
    pytest.mark.xdist_group("nix"),
    pytest.mark.real,
    pytest.mark.needs("nix", "bwrap", "shellcheck"),
]

LAB: Final = '(import ./habits/lab.nix { inherit pkgs; repx-lib = repx; gitHash = "abc"; }).lab'


@pytest.fixture(scope="module")
def lab(nix: Nix) -> Path:
    return nix.build(LAB, Path(__file__).parent / "labs")


def metadata(lab: Path, run: str) -> dict[str, Any]:
    text = (lab / f"revision/metadata-{run}.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def test_every_combination_is_a_job(lab: Path) -> None:
    jobs = metadata(lab, "simulation-run")["jobs"].values()

    producers = [job for job in jobs if job["name"] == "producer-0.3"]
    assert len(producers) == 2 * 2 * 2  # seeds, tables and pairs
    assert {job["params"]["rate"] for job in producers} == {0.1, 1e-7}
    assert {job["params"]["mode"] for job in producers} == {"fast"}
    assert {job["params"]["label"] for job in producers} == {"low", 'it\'s "high" $x'}
    hints = {"mem": "64M", "cpus": 1, "time": "00:05:00", "partition": "debug"}
    assert producers[0]["resource_hints"] == {**hints, "sbatch_opts": ["--nice=1"]}


def test_files_keep_their_own_names(lab: Path) -> None:
    top = metadata(lab, "top")

    assert {"one.csv", "two é.csv", "sub", "hello"} == set(top["own_names"].values())


def test_a_group_may_name_a_run(lab: Path) -> None:
    assert metadata(lab, "top")["groups"] == {"everything": ["simulation-run"]}


def test_it_runs(nix: Nix, lab: Path, tmp_path: Path) -> None:
    (tmp_path / "targets.yaml").write_text(
        "targets: {local: {base_path: s, runtime: native}}\n", encoding="utf-8"
    )
    path = str(lab).removeprefix(str(nix.store))
    words = nix.inside(sys.executable, "-m", "repx", "run", "analysis-run", "--lab", path)

    ran = subprocess.run(words, capture_output=True, check=False, cwd=tmp_path, text=True)

    assert ran.returncode == 0, ran.stderr
    (found,) = tmp_path.glob("s/outputs/*-look-*/out/jobs.txt")
    assert found.read_text() == "16\n"
    texts = [path.read_text() for path in tmp_path.glob("s/outputs/*-producer-*/out/data.csv")]
    assert 'x\n1|1e-7|it\'s "high" $x|fast\n' in {text.partition("\n")[2] for text in texts}
