"""What a build says of a wrong lab.yaml."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from repx.errors import ProblemsError
from repx.lab.build import build

if TYPE_CHECKING:
    from collections.abc import Sequence

GOOD: Final = """\
stages:
  a:
    parameters: {x: 1}
    outputs:
      o: $out/o.txt
    run: |
      echo "${parameters[x]}" > "${outputs[o]}"
  b:
    inputs: [o]
    outputs:
      p: $out/p.txt
    run: |
      cat "${inputs[o]}" > "${outputs[p]}"
pipelines:
  main: [a, b]
runs:
  r:
    parameters:
      x: [1, 2]
"""


def bash(argv: Sequence[str], stdin: str) -> tuple[int, str] | None:
    """Run bash; there is no shellcheck."""
    if argv[0] != "bash":
        return None
    done = subprocess.run(argv, input=stdin, capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


def mistakes(folder: Path, text: str) -> list[str]:
    (folder / "lab.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ProblemsError) as caught:
        build(folder / "lab.yaml", folder / "result", bash)
    assert not (folder / "result").is_symlink()
    assert not (folder / ".repx").exists()
    return [str(problem).removeprefix(f"{folder}/") for problem in caught.value.problems]


def warnings(folder: Path, text: str) -> list[str]:
    (folder / "lab.yaml").write_text(text, encoding="utf-8")
    built = build(folder / "lab.yaml", folder / "result", bash)
    return [str(problem).removeprefix(f"{folder}/") for problem in built.warnings]
