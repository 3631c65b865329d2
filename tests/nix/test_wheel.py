"""An installed repx brings its library: a starter builds from the wheel alone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from tests.nix.machine import Nix

pytestmark = [
    pytest.mark.xdist_group("nix-examples"),
    pytest.mark.real,
    pytest.mark.needs("nix", "bwrap", "shellcheck"),
]

LOCKED: Final = Path(__file__).parents[2] / ".ci/locked.txt"


def pip(*words: str | Path) -> None:
    options = ("--disable-pip-version-check", "--quiet", "--no-deps")
    subprocess.run([sys.executable, "-m", "pip", words[0], *options, *words[1:]], check=True)


@pytest.fixture(scope="module")
def installed(nix: Nix, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder to import from: repx of a wheel, in a place with blanks."""
    home = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--build-constraint", LOCKED, "--wheel-dir", home, nix.project)
    (wheel,) = home.glob("*.whl")
    pip("install", "--target", home / "my site", wheel)
    return home / "my site"


def repx(installed: Path, cwd: Path, *words: str, nix: Nix) -> subprocess.CompletedProcess[str]:
    """Run the repx of the wheel; it finds the modules that it needs where the tests do."""
    environment = {
        "HOME": os.fspath(cwd),
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": os.pathsep.join([os.fspath(installed), *sys.path[1:]]),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    program = "import repx, sys; from repx.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", program, *words]
    command = nix.inside(*command) if words[0] == "run" else command
    return subprocess.run(
        command, capture_output=True, check=False, cwd=cwd, env=environment, text=True
    )


def test_a_starter_builds_and_runs(nix: Nix, installed: Path, tmp_path: Path) -> None:
    made = repx(installed, tmp_path, "init", "--nix", "dice", nix=nix)

    assert made.returncode == 0, made.stderr
    project = tmp_path / "dice"
    flake = (project / "flake.nix").read_text(encoding="utf-8")
    assert f'repx.path = "{installed}/repx/_data";' in flake
    (project / "targets.yaml").write_text(
        "targets: {local: {base_path: s, runtime: native}}\n", encoding="utf-8"
    )

    built = nix.flake("build", f"path:{project}", cwd=project)

    assert built.returncode == 0, built.stderr
    ran = repx(installed, project, "run", nix=nix)
    assert ran.returncode == 0, ran.stderr
    (table,) = project.glob("s/outputs/*-table-*/out/table.csv")
    assert len(table.read_text(encoding="utf-8").splitlines()) == 19


def test_its_jobs_are_those_of_the_checkout(nix: Nix, installed: Path) -> None:
    """The library of the wheel lies elsewhere and lacks the rest of repx; ids are the same."""
    body = (
        'repx.runs2Lab { inherit pkgs; runs = [ { name = "r"; pipelines = [ { a = '
        'repx.callStage { outputs.o = "$out/o"; run = "true"; } [ ]; } ]; } ]; }'
    )
    data = nix.store.parent / "data"
    data.symlink_to(installed / "repx/_data")  # a path of Nix has no blanks
    ours = nix.build(body)
    theirs = replace(nix, project=data).build(body)

    names = [sorted(path.name for path in (lab / "jobs").iterdir()) for lab in (ours, theirs)]
    assert names[0] == names[1]
    assert ours == theirs  # all of it: the same sources, so the same derivation


def test_its_flake_is_sound(nix: Nix, installed: Path) -> None:
    plain = nix.store.parent / "plain"
    shutil.copytree(installed / "repx/_data", plain)

    done = nix.flake("flake check", f"path:{plain}")

    assert done.returncode == 0, done.stderr
