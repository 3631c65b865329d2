"""The flake: its examples, its program, its checks, and a project that uses it."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from repx.lab.load import open_lab

if TYPE_CHECKING:
    from pathlib import Path

    from tests.nix.machine import Nix

pytestmark = [
    pytest.mark.xdist_group("nix"),
    pytest.mark.real,
    pytest.mark.needs("nix", "bwrap", "shellcheck"),
]


def built(nix: Nix, target: str, link: Path, *options: str) -> Path:
    done = nix.flake("build", target, "--out-link", str(link), *options)
    assert done.returncode == 0, done.stderr
    return nix.physical(str(link.readlink()))


@pytest.mark.parametrize(
    ("name", "runs"),
    [
        ("compression", {"measure", "report"}),
        ("image", {"words"}),
        ("monte-carlo", {"estimate", "report"}),
    ],
)
def test_an_example_builds_from_the_flake(
    nix: Nix, tmp_path: Path, name: str, runs: set[str]
) -> None:
    lab = built(nix, f"path:{nix.project}#{name}", tmp_path / "result")

    assert runs == set(open_lab(lab).lab.runs)


def test_the_flake_is_sound(nix: Nix) -> None:
    done = nix.flake("flake check", f"path:{nix.project}")

    assert done.returncode == 0, done.stderr


def test_the_program_is_a_package(nix: Nix, tmp_path: Path) -> None:
    built(nix, f"path:{nix.project}", tmp_path / "result")

    command = nix.inside(f"{tmp_path}/result/bin/repx", "--version")
    done = subprocess.run(command, capture_output=True, check=False, text=True)

    assert done.stdout.startswith("repx "), done.stderr


def test_an_overlay_adds_program_and_library(nix: Nix) -> None:
    body = (
        f"let overlays = [ (import {nix.project}/nix/overlay.nix) ]; "
        f"all = import {nix.packages} {{ inherit overlays; }}; in "
        "[ all.repx.name (builtins.isFunction all.repx.lib.runs2Lab) ]"
    )

    assert nix.value(body) == ["repx-hpc", True]


def test_a_new_project_builds_and_runs(nix: Nix, tmp_path: Path) -> None:
    repx = (sys.executable, "-m", "repx")
    project = tmp_path / "dice"
    subprocess.run(
        [*repx, "init", "--nix", "--library", f"path:{nix.project}", str(project)], check=True
    )
    (project / "targets.yaml").write_text(
        "targets: {local: {base_path: s, runtime: native}}\n", encoding="utf-8"
    )

    built(nix, f"path:{project}", project / "result")

    run = nix.inside(*repx, "run", "throws", "report")
    ran = subprocess.run(run, capture_output=True, check=False, cwd=project, text=True)
    assert ran.returncode == 0, ran.stderr
    (table,) = project.glob("s/outputs/*-table-*/out/table.csv")
    assert len(table.read_text().splitlines()) == 19
