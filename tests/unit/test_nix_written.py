"""The row of a file of Nix behind each line of a script."""

from __future__ import annotations

from typing import Final

import pytest

from nix.builder import written

# The rows from `run` on, the lines that Nix makes of them, and the row of each line.
CASES: Final = [
    ("run = { ... }: ''\n  a\n  b \"${inputs.x}\"\n'';", 'a\nb "${inputs[x]}"\n', [2, 3, 4]),
    ("run = { ... }: ''a b'';", "a b", [1]),
    ("run = { ... }:\n  ''\n    a\n\n    b\n  '';", "a\n\nb\n", [3, 4, 5, 6]),
    ("run = _: ''\n  ${long}\n  b\n'';", "x\ny\nz\nb\n", [2, 2, 2, 3, 4]),
    (
        "run = _: ''\n  a\n  ${lib.optionalString no ''\n    b\n  ''}\n  c\n'';",
        "a\n\nc\n",
        [2, 3, 6, 7],
    ),
    (
        "run = _: ''\n  a\n  ${lib.optionalString yes ''\n    b\n    d\n  ''}\n  c\n'';",
        "a\nb\nd\n\nc\n",
        [2, 4, 5, 6, 7, 8],
    ),
    ("run = _: ''\n  echo ''${x} '''y'''\n  c\n'';", "echo ${x} ''y''\nc\n", [2, 3, 4]),
    ('run = "a\\nb";\noutputs = { };', "a\nb", [1, 1]),
    ("inherit run;\nfiles = [ ];\nx = ''\n  y\n'';", "a\nb", [1, 1]),
    ("run = lines;\nother = ''\n  y\n'';", "a", [1]),
    ("run = { pkgs, ... }:\n  let\n    x = 1;\n  in\n  ''\n    a\n  '';", "a\n", [6, 7]),
    ("run = _:\n  let\n    x = ''\n      z\n    '';\n  in\n  ''\n    a\n  '';", "a\n", [8, 9]),
]


@pytest.mark.parametrize(("source", "lines", "found"), CASES, ids=[each[0][:40] for each in CASES])
def test_each_line_has_its_row(source: str, lines: str, found: list[int]) -> None:
    definition = f"{{ pkgs }}:\n{{\n{source}\n}}\n"

    rows = written.rows(definition, 3, lines)

    assert found == [row - 2 for row in rows][: len(found)]


def test_what_is_written_nowhere_has_no_row() -> None:
    assert written.rows("", 0, "a\nb") == [0, 0]
