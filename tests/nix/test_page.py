"""docs/nix.md does what it shows, word for word, from an empty folder to results."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from tests.nix.machine import Nix

pytestmark = [
    pytest.mark.xdist_group("nix-copied"),
    pytest.mark.real,
    pytest.mark.needs("nix", "bwrap", "shellcheck"),
]

PAGE: Final = (Path(__file__).parents[2] / "docs/nix.md").read_text(encoding="utf-8")
TUTORIAL: Final = PAGE.partition("\n## Stages")[0]
BLOCK: Final = re.compile(r"^```(nix|console|python)\n(.*?)^```", re.MULTILINE | re.DOTALL)
# What the machine of these tests needs and users do not: its store is new and has no build users.
SETTINGS: Final = """\
build-users-group =
sandbox-paths = /bin /usr /lib /lib64 /etc
substitute = false
"""


def blocks(language: str) -> list[str]:
    return [text for kind, text in BLOCK.findall(TUTORIAL) if kind == language]


def locked(nix: Nix, folder: Path, original: dict[str, str], **more: Any) -> dict[str, Any]:  # noqa: ANN401  # JSON
    """Return a flake as a lock file names it: what the page writes is this folder."""
    done = nix.call("nix", "hash", "path", os.fspath(folder))
    place = {"type": "path", "path": os.fspath(folder), "narHash": done.stdout.strip()}
    return {"locked": place, "original": original, **more}


def lock(nix: Nix) -> str:
    """Return a lock file that pins the page's flakes to those of this checkout."""
    packages = {"type": "github", "owner": "NixOS", "repo": "nixpkgs", "ref": "nixos-25.11"}
    library = {"type": "github", "owner": "OWNER", "repo": "REPX"}
    nodes = {
        "nixpkgs": locked(nix, nix.packages, packages),
        "repx": locked(nix, nix.project, library, inputs={"nixpkgs": ["nixpkgs"]}),
        "root": {"inputs": {"nixpkgs": "nixpkgs", "repx": "repx"}},
    }
    return json.dumps({"nodes": nodes, "root": "root", "version": 7})


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Return that of somebody who follows the page, who has just written its nix.conf."""
    settings = re.search(r"nix\.conf`:\n\n    (.*)\n", TUTORIAL)
    assert settings
    config = tmp_path / "home/.config/nix/nix.conf"
    config.parent.mkdir(parents=True)
    config.write_text(f"{settings[1]}\n", encoding="utf-8")
    return {
        "HOME": os.fspath(tmp_path / "home"),
        "NIX_CONFIG": SETTINGS,
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "TERM": "dumb",
    }


def test_the_tutorial_ends_with_results(
    copied: Nix, tmp_path: Path, environment: dict[str, str]
) -> None:
    project = tmp_path / "an empty folder"
    project.mkdir()
    (project / "flake.lock").write_text(lock(copied), encoding="utf-8")
    for text in blocks("nix"):
        name = text.partition("\n")[0].removeprefix("# ")
        (project / name).write_text(text, encoding="utf-8")
    (program,) = blocks("python")
    (project / "analyse.py").write_text(program, encoding="utf-8")

    commands = re.findall(r"^\$ (.*)$", "".join(blocks("console")), re.MULTILINE)
    assert commands
    said = []
    for command in [*commands, "python analyse.py"]:
        done = subprocess.run(
            copied.inside("bash", "-c", command),
            capture_output=True,
            check=False,
            cwd=project,
            env=environment,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        said.append(done.stdout)

    rows = [line.split() for line in said[-1].splitlines()]
    assert len(rows) == 6
    assert {row[0] for row in rows} == {"10", "100"}
    assert all(int(row[2]) > 0 for row in rows)
