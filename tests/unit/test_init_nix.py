"""``repx init --nix``: a flake and its Lab, with the library's place filled in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.unit.conftest import Repx

PROJECT = Path(__file__).parents[2]


def test_it_writes_a_flake_that_uses_this_installation(repx: Repx, tmp_path: Path) -> None:
    said = repx("init", "--nix", "here")

    assert said.code == 0
    assert "next: cd here && nix build && repx run" in said.err
    flake = (tmp_path / "here/flake.nix").read_text(encoding="utf-8")
    assert f'repx.url = "git+file:{PROJECT}";' in flake
    assert sorted(path.name for path in (tmp_path / "here").iterdir()) == [
        ".gitignore",
        "flake.nix",
        "lab.nix",
        "summarise.py",
        "table.py",
    ]


def test_name_and_library_may_be_given(repx: Repx, tmp_path: Path) -> None:
    repx("init", "--nix", "--library", "github:me/repx", "--name", "mice", "here")

    flake = (tmp_path / "here/flake.nix").read_text(encoding="utf-8")
    assert 'repx.url = "github:me/repx";' in flake
    assert 'description = "mice: ' in flake


def test_a_library_without_nix_is_a_mistake(repx: Repx) -> None:
    said = repx("init", "--library", "github:me/repx", "here")

    assert said.code == 2
    assert said.err == "error: --library is for experiments in Nix\nhint: add --nix\n"
