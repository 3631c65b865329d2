"""What the files of the Nix library may not do, and what they must agree with."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
LIBRARY: Final = [ROOT / "flake.nix", *sorted((ROOT / "nix").rglob("*.nix"))]
# They give something else on each machine, or nothing where evaluation is pure.
IMPURE: Final = re.compile(r"\b(getEnv|currentSystem|currentTime|storePath|fetch\w+)\b|<nixpkgs>")
# Aliases of nixpkgs that warn or throw.
ALIASES: Final = re.compile(r"\bpkgs\.(system|hostPlatform|buildPlatform|python)\b")


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: path.name)
def test_no_file_depends_on_the_machine(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    code = "\n".join(line for line in lines if not line.lstrip().startswith("#"))

    assert [] == IMPURE.findall(code)
    assert [] == ALIASES.findall(code)


def test_the_package_has_the_dependencies_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    text = (ROOT / "nix/package.nix").read_text(encoding="utf-8")
    found = re.search(r" dependencies = with python3Packages; \[(.*?)\]", text, re.DOTALL)
    assert found is not None

    wanted = [re.split("[<>=]", each)[0] for each in project["dependencies"]]

    assert sorted(wanted) == sorted(found[1].split())
