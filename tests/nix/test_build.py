"""A Lab made by real nix: what is in it, and that it runs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from repx.lab.load import open_lab
from repx.lab.verify import verify

if TYPE_CHECKING:
    from tests.nix.machine import Nix

pytestmark = [
    pytest.mark.xdist_group("nix"),
    pytest.mark.real,
    pytest.mark.needs("nix", "bwrap", "shellcheck"),
]

FIRST: Final = """\
{ pkgs }:
{
  pname = "first";
  parameters = { n = 3; x = 0.5; };
  outputs = { line = "$out/line.txt"; };
  run = { outputs, parameters, ... }: ''
    echo "n=${parameters.n} x=${parameters.x}" > "${outputs.line}"
  '';
}
"""
SECOND: Final = """\
{ pkgs }:
{
  pname = "second";
  inputs = [ "line" ];
  outputs = { copy = "$out/copy.txt"; };
  resources = { mem = "64M"; cpus = 1; };
  run = { inputs, outputs, ... }: ''
    sed 's/n=/N=/' "${inputs.line}" > "${outputs.copy}"
  '';
}
"""
PIPE: Final = """\
{ repx, ... }:
repx.mkPipe rec {
  first = repx.callStage ./first.nix [ ];
  second = repx.callStage ./second.nix [ first ];
}
"""
LAB: Final = """\
repx.runs2Lab [
  {
    name = "sweep";
    pipelines = [ ./pipe.nix ];
    parameters = { n = [ 1 2 ]; x = [ 0.1 0.30000000000000004 1.0 1.0e22 ]; };
  }
]
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name, text in (("first", FIRST), ("second", SECOND), ("pipe", PIPE)):
        (tmp_path / f"{name}.nix").write_text(text, encoding="utf-8")
    return tmp_path


def jobs_of(lab: Path) -> dict[str, Any]:
    text = (lab / "revision/metadata-sweep.json").read_text(encoding="utf-8")
    jobs: dict[str, Any] = json.loads(text)["jobs"]
    return jobs


def test_a_lab_is_whole_and_its_floats_are_exact(nix: Nix, project: Path, tmp_path: Path) -> None:
    lab = nix.build(LAB, project)

    opened = open_lab(lab)
    verify(opened, cache=tmp_path)
    jobs = jobs_of(lab)
    values = sorted({job["params"]["x"] for job in jobs.values() if job["params"]})
    assert values == [0.1, 0.30000000000000004, 1.0, 1e22]
    assert len(jobs) == 16


def test_a_lab_runs(nix: Nix, project: Path) -> None:
    done = nix.built(LAB, project)
    lab = done.stdout.strip()
    (project / "targets.yaml").write_text(
        "targets: {local: {base_path: s, runtime: native}}\n", encoding="utf-8"
    )

    command = nix.inside(sys.executable, "-m", "repx", "run", "sweep", "--lab", lab)
    ran = subprocess.run(command, capture_output=True, check=False, cwd=project, text=True)

    assert ran.returncode == 0, ran.stderr
    lines = sorted(path.read_text() for path in project.glob("s/outputs/*/out/copy.txt"))
    assert lines[:2] == ["N=1 x=0.1\n", "N=1 x=0.30000000000000004\n"]
    assert len(lines) == 8


def test_job_ids_do_not_depend_on_the_checkout(nix: Nix, project: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "else where"
    elsewhere.mkdir()
    for path in project.glob("*.nix"):
        (elsewhere / path.name).write_text(path.read_text())

    one, other = nix.build(LAB, project), nix.build(LAB, elsewhere)

    assert jobs_of(one).keys() == jobs_of(other).keys()
    assert open_lab(one).lab.id == open_lab(other).lab.id


def test_a_rebuild_gives_the_same_bytes(nix: Nix, project: Path) -> None:
    nix.build(LAB, project)

    done = nix.call("nix-build", "--check", "--no-out-link", "-E", nix.lab(LAB), cwd=project)

    assert done.returncode == 0, done.stderr


def test_the_lab_says_where_it_comes_from(nix: Nix, project: Path) -> None:
    (project / "flake.lock").write_text("{}")
    body = (
        'repx.runs2Lab { gitHash = "abc"; lab_version = "2"; flakeLock = ./flake.lock; '
        'runs = [ { name = "sweep"; pipelines = [ ./pipe.nix ]; } ]; }'
    )

    lab = nix.build(body, project)

    top = json.loads((lab / "revision/metadata-top.json").read_text())
    assert top["gitHash"] == "abc"
    lock = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    assert top["provenance"] == {"nixpkgs": "mini", "flake_lock": lock}
    assert json.loads((lab / "lab/lab-metadata.json").read_text())["lab_version"] == "2"
