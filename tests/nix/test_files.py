"""Files that a stage brings: beside a program, beside lines of bash, and out of packages."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.nix.machine import Nix

pytestmark = [
    pytest.mark.xdist_group("nix"),
    pytest.mark.real,
    pytest.mark.needs("nix", "bwrap", "shellcheck"),
]

LAB: Final = """\
repx.runs2Lab { hostTools = false; containerMode = "none"; runs = [ { name = "r"; pipelines = [ {
  lines = repx.callStage {
    files = [ ./data ./lib/tool.sh ];
    outputs.o = "$out/o";
    run = { outputs, ... }: ''
      "$REPX_FILES/lib/tool.sh" < "$REPX_FILES/data/deep/x.txt" > "${outputs.o}"
    '';
  } [ ];
  program = repx.callStage {
    script = ./lib/main.sh;
    files = [ ./lib/linked.sh ];
    runDependencies = [ pkgs.bash ];
    outputs.o = "$out/o";
  } [ ];
  packaged = repx.callStage {
    script = "${pkgs.writeScriptBin "made" "#!${pkgs.bash}/bin/bash\\necho made > o"}/bin/made";
    outputs.o = "$out/o";
  } [ ];
} ]; } ]; }
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "data/deep").mkdir(parents=True)
    (tmp_path / "lib").mkdir()
    (tmp_path / "data/deep/x.txt").write_text("x\n")
    (tmp_path / "lib/tool.sh").write_text("#!/usr/bin/env bash\nsed s/x/y/\n")
    (tmp_path / "lib/tool.sh").chmod(0o755)
    (tmp_path / "lib/linked.sh").symlink_to("tool.sh")
    main = '#!/usr/bin/env bash\necho x | bash "$REPX_FILES/linked.sh" > o\n'
    (tmp_path / "lib/main.sh").write_text(main)
    return tmp_path


def test_files_are_there_when_a_job_runs(nix: Nix, project: Path) -> None:
    option = ("--option", "allow-import-from-derivation", "false")
    evaluated = nix.call("nix-instantiate", *option, "-E", nix.lab(LAB), cwd=project)
    assert evaluated.returncode == 0, evaluated.stderr  # nothing is built to be looked at
    lab = str(nix.build(LAB, project)).removeprefix(os.fspath(nix.store))
    (project / "targets.yaml").write_text(
        "targets: {local: {base_path: s, runtime: native}}\n", encoding="utf-8"
    )

    ran = subprocess.run(
        nix.inside(sys.executable, "-m", "repx", "run", "--lab", lab),
        capture_output=True,
        check=False,
        cwd=project,
        text=True,
    )

    assert ran.returncode == 0, ran.stderr
    found = {
        path.parts[-3].split("-")[1]: path.read_text() for path in project.glob("s/outputs/*/out/o")
    }
    assert found == {"lines": "y\n", "program": "y\n", "packaged": "made\n"}
