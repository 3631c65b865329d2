"""A failed job of a Lab that Nix built names the user's own line in a file of Nix."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Final

import pytest

from repx.lab import origin

if TYPE_CHECKING:
    from pathlib import Path

    from tests.nix.machine import Nix

pytestmark = [
    pytest.mark.xdist_group("nix"),
    pytest.mark.real,
    pytest.mark.needs("nix", "bwrap", "shellcheck"),
]

FLAKE: Final = """\
{
  inputs.nixpkgs.url = "nixpkgs";
  inputs.repx.url = "repx";
  inputs.repx.inputs.nixpkgs.follows = "nixpkgs";
  outputs = { self, nixpkgs, repx }: {
    packages.x86_64-linux.default = repx.lib.runs2Lab {
      pkgs = import nixpkgs { system = "x86_64-linux"; };
      hostTools = false;
      containerMode = "none";
      runs = [ { name = "r"; pipelines = [ ./pipe.nix ]; } ];
    };
  };
}
"""
PIPE: Final = """\
{ repx, ... }:
repx.mkPipe {
  fit = repx.callStage ./deep/stages/fit.nix [ ];
  plot = repx.callStage ./deep/stages/plot.nix [ ];
  many = repx.callStage ./deep/stages/many.nix [ ];
}
"""
FIT: Final = """\
{ pkgs }:
{
  outputs = { o = "$out/o"; };
  run = { outputs, ... }: ''
    ${pkgs.lib.concatMapStringsSep "\\n" (n: "echo ${n}") [ "a" "b" "c" ]}

    : "$nowhere"
  '';
}
"""
PLOT: Final = """\
{ pkgs }:
{
  outputs.o = "$out/o";
  runDependencies = [ pkgs.bash ];
  script = ./plot.sh;
}
"""
MANY: Final = """\
{ pkgs }:
{
  scatter = {
    outputs = { worker__arg = { }; work__items = "$out/work_items.json"; };
    run = { outputs, ... }: ''echo '[1]' > "${outputs.work__items}"'';
  };
  steps.one = {
    inputs = [ "worker__item" ];
    outputs.r = "$out/r";
    run = { outputs, ... }: ''
      true
      echo "''${nothing:?is missing}" > "${outputs.r}"
    '';
  };
  gather = {
    inputs = [ "worker__outs" ];
    outputs.o = "$out/o";
    run = { outputs, ... }: ''touch "${outputs.o}"'';
  };
}
"""
FILES: Final = {"fit.nix": FIT, "plot.nix": PLOT, "many.nix": MANY}


@pytest.fixture(scope="module")
def project(nix: Nix, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a project whose Lab was run: its jobs fail."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "deep/stages").mkdir(parents=True)
    for name, text in {**FILES, "plot.sh": "#!/usr/bin/env bash\n\n. /not/there\n"}.items():
        (folder / "deep/stages" / name).write_text(text, encoding="utf-8")
    (folder / "flake.nix").write_text(FLAKE, encoding="utf-8")
    (folder / "pipe.nix").write_text(PIPE, encoding="utf-8")
    (folder / "targets.yaml").write_text(
        "targets: {local: {base_path: s, runtime: native}}\n", encoding="utf-8"
    )
    library = ("--override-input", "repx", f"path:{nix.project}")
    done = nix.flake("build", f"path:{folder}", *library, cwd=folder)
    assert done.returncode == 0, done.stderr
    ran = repx(nix, folder, "run", "-k")
    assert ran.returncode == 1
    (folder / "said").write_text(ran.stdout + ran.stderr, encoding="utf-8")
    return folder


def repx(nix: Nix, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = nix.inside(sys.executable, "-m", "repx", *words)
    return subprocess.run(command, capture_output=True, check=False, cwd=folder, text=True)


@pytest.mark.parametrize(
    "place", ["deep/stages/fit.nix:7", "deep/stages/plot.sh:3", "deep/stages/many.nix:12"]
)
def test_a_failure_names_the_line(project: Path, place: str) -> None:
    said = (project / "said").read_text(encoding="utf-8")

    assert f"at:    {place}\n" in said


def test_a_file_that_has_changed_since_is_told(nix: Nix, project: Path) -> None:
    fit = project / "deep/stages/fit.nix"
    (job,) = project.glob("s/outputs/*-fit-1.1")
    fit.write_text(f"# a comment\n{FIT}", encoding="utf-8")
    try:
        said = repx(nix, project, "log", job.name, "--stderr")
    finally:
        fit.write_text(FIT, encoding="utf-8")

    assert "at deep/stages/fit.nix:7 (the file has changed since)" in said.stderr


def test_comments_change_neither_jobs_nor_the_lab(nix: Nix, tmp_path: Path) -> None:
    from repx.lab.load import open_lab

    (tmp_path / "fit.nix").write_text(FIT, encoding="utf-8")
    body = (
        'repx.runs2Lab [ { name = "r"; pipelines = [ { a = repx.callStage ./fit.nix [ ]; } ]; } ]'
    )
    before = open_lab(nix.build(body, tmp_path)).lab
    (tmp_path / "fit.nix").write_text(f"# a comment\n\n{FIT}", encoding="utf-8")
    after = open_lab(nix.build(body, tmp_path)).lab

    assert before.id == after.id
    assert before.jobs.keys() == after.jobs.keys()


@pytest.mark.parametrize(
    "origins",
    [
        "nonsense",
        "[]",
        '{"x": 1}',
        '{"X": {"file": "/etc/passwd"}}',
        '{"X": {"file": "../f", "rows": [1]}}',
        '{"X": {"file": "f", "rows": ["a", null]}}',
        '{"X": {"file": "f", "rows": 3}}',
    ],
)
def test_a_lab_that_says_nonsense_names_nothing(tmp_path: Path, origins: str) -> None:
    name = f"{'0' * 32}-x"
    lab = tmp_path / "lab"
    (lab / "revision").mkdir(parents=True)
    (lab / "store").mkdir()
    (lab / "store" / name).write_text("# --- the stage ---\na\n", encoding="utf-8")
    (lab / "revision/origins.json").write_text(origins.replace("X", name), encoding="utf-8")

    assert json.dumps(origin.of(f"/b/store/{name}: line 2: x", lab)) == "null"
