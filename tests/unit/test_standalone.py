"""The runner and the expander run alone: repx is not installed on targets and in sandboxes."""

from __future__ import annotations

import ast
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

import repx
from repx.places import channel

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE: Final = Path(repx.__file__).parent
EXPANDER: Final = sorted(
    os.fspath(path.relative_to(PACKAGE)) for path in (PACKAGE / "lab/expand").glob("*.py")
)
RUNNER: Final = sorted(f"runner/{path.name}" for path in (PACKAGE / "runner").glob("*.py"))
OWN: Final = ("repx.lab.expand", "repx.runner")  # modules of one room know each other
FILES: Final = (*RUNNER, *EXPANDER)


def imported(source: str) -> Iterator[str]:
    """Yield the top-level name of everything that ``source`` imports, anywhere in it.

    Runner and expander are packages: what they import from themselves is left out.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            name = "." if node.level else node.module or ""
            if not f"{name}.".startswith(tuple(f"{own}." for own in OWN)):
                yield name.partition(".")[0]


@pytest.mark.parametrize("file", FILES)
def test_standalone_file_imports_only_the_standard_library(file: str) -> None:
    source = (PACKAGE / file).read_text(encoding="utf-8")

    assert set(imported(source)) <= sys.stdlib_module_names


@pytest.mark.parametrize("file", FILES)
def test_standalone_file_uses_no_syntax_newer_than_python_3_9(file: str) -> None:
    """Targets may have an old python3; newer syntax raises SyntaxError here."""
    source = (PACKAGE / file).read_text(encoding="utf-8")

    ast.parse(source, feature_version=(3, 9))


@pytest.mark.parametrize("file", [f"{name.replace('.', '/')}.py" for name in channel.MODULES])
def test_what_serves_a_place_needs_no_more_than_python_3_6(file: str) -> None:
    """Login nodes have one that old; what these files import of repx is sent along."""
    source = (PACKAGE / file).read_text(encoding="utf-8")

    ast.parse(source, feature_version=(3, 6))
    assert set(imported(source)) <= {*sys.stdlib_module_names, "repx"}
    assert "annotations" not in source.partition("\n\n")[2].partition("\n\n")[0]
