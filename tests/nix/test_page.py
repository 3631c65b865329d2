"""docs/nix.md does what it shows, from an empty folder to results."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from tests.nix.machine import Nix

pytestmark = [
    pytest.mark.xdist_group("nix"),
    pytest.mark.real,
    pytest.mark.needs("nix", "bwrap", "shellcheck"),
]

PAGE: Final = (Path(__file__).parents[2] / "docs/nix.md").read_text(encoding="utf-8")
TUTORIAL: Final = PAGE.partition("\n## Stages")[0]
BLOCK: Final = re.compile(r"^```(nix|console|python)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(language: str) -> list[str]:
    return [text for kind, text in BLOCK.findall(TUTORIAL) if kind == language]


def test_the_tutorial_ends_with_results(nix: Nix, tmp_path: Path) -> None:
    for text in blocks("nix"):
        name = text.partition("\n")[0].removeprefix("# ")
        (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "targets.yaml").write_text(
        "targets: {local: {base_path: s, runtime: native}}\n", encoding="utf-8"
    )
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    env = {**os.environ, "PATH": path}
    library = ("--override-input", "repx", f"path:{nix.project}")

    for command in re.findall(r"^\$ (.*)$", "".join(blocks("console")), re.MULTILINE):
        if command == "nix build":
            done = nix.flake("build", f"path:{tmp_path}", *library, cwd=tmp_path)
        else:
            words = nix.inside(*command.split())
            done = subprocess.run(
                words, capture_output=True, check=False, cwd=tmp_path, env=env, text=True
            )
        assert done.returncode == 0, done.stderr

    (program,) = blocks("python")
    words = nix.inside(sys.executable, "-c", program)
    read = subprocess.run(words, capture_output=True, check=False, cwd=tmp_path, env=env, text=True)
    rows = [line.split() for line in read.stdout.splitlines()]
    assert len(rows) == 6, read.stderr
    assert {row[0] for row in rows} == {"10", "100"}
    assert all(int(row[2]) > 0 for row in rows)
