"""Labs of `nix build` where there is no Nix: the closure in the image is all that jobs need."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.real.runtime_place import RUNTIMES

if TYPE_CHECKING:
    from tests.nix.machine import Nix

pytestmark = [
    pytest.mark.xdist_group("nix"),
    pytest.mark.real,
    pytest.mark.needs("nix", "shellcheck"),
]

STORED = re.compile(r"/nix/store/([0-9a-z]{32}-[A-Za-z0-9._+-]*[A-Za-z0-9])")


@pytest.fixture(scope="module")
def lab(copied: Nix) -> Path:
    """Return a Lab whose packages are whole: no file of this machine is needed."""
    here = Path(__file__).parent
    return copied.build("(import ./labs/whole.nix { inherit pkgs repx; }).lab", here)


def test_the_image_has_every_path_that_scripts_name(lab: Path) -> None:
    names: set[str] = set()
    for layer in lab.glob("images/*-sweep-image.tar/*/layer.tar"):
        with tarfile.open(layer) as archive:
            names.update(archive.getnames())
    there = {name.split("/")[2] for name in names if name.count("/") > 1}
    named = {
        found
        for script in lab.glob("jobs/*/bin/*")
        for found in STORED.findall(script.read_text(encoding="utf-8"))
    }

    assert named
    assert named <= there
    assert {"bin/sh", "usr/bin/env", "tmp"} <= names


def test_layers_are_the_same_whoever_writes_them(lab: Path) -> None:
    for layer in lab.glob("store/*-layer.tar"):
        with tarfile.open(layer) as archive:
            for entry in archive:
                assert (entry.mtime, entry.uid, entry.gid, entry.uname) == (1, 0, 0, "")


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_all_of_it_runs_without_nix(
    lab: Path, tmp_path: Path, client: Callable[[str], dict[str, str]], runtime: str
) -> None:
    script = next(lab.glob("jobs/*/bin/*")).read_text(encoding="utf-8")
    assert not Path(script.partition("\n")[0][2:]).exists()  # its bash is in the image only
    profile = f"targets: {{local: {{base_path: s, runtime: {runtime}}}}}\n"
    (tmp_path / "targets.yaml").write_text(profile, encoding="utf-8")

    ran = subprocess.run(
        [sys.executable, "-m", "repx", "run", "analysis", "sweep", "--lab", os.fspath(lab)],
        capture_output=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, **client(runtime)},
        text=True,
    )

    assert ran.returncode == 0, ran.stderr
    texts = sorted(path.read_text() for path in tmp_path.glob("s/outputs/*report*/out/*.txt"))
    assert texts == ["25\nlong\n", "25\nshort\n", "44\nlong\n", "44\nshort\n"]


@pytest.mark.needs("bwrap")
def test_a_stage_reads_a_whole_run_in_isolation(copied: Nix, tmp_path: Path) -> None:
    """The starter's last stage looks for the results of all jobs of another run."""
    starter = copied.project / "templates/init-nix/lab.nix"
    for name in ("summarise.py", "table.py"):
        (starter.parent / name).write_bytes((starter.parent.parent / "init" / name).read_bytes())
    lab = copied.build(f"repx.runs2Lab {{ inherit pkgs; runs = import {starter}; }}")
    (tmp_path / "targets.yaml").write_text("targets: {local: {base_path: s}}\n", encoding="utf-8")

    ran = subprocess.run(
        [sys.executable, "-m", "repx", "run", "throws", "report", "--lab", os.fspath(lab)],
        capture_output=True,
        check=False,
        cwd=tmp_path,
        text=True,
    )

    assert ran.returncode == 0, ran.stderr
    (table,) = tmp_path.glob("s/outputs/*report*/out/table.csv")
    assert len(table.read_text().splitlines()) == 19
