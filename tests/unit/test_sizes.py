"""Files and functions stay small enough to be read at once."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
FOLDERS: Final = ("bench", "examples", "nix", "repx", "repx_py", "templates", "tests")
DATA: Final = ("tests/golden/", "tests/labs/")
MOST_LINES: Final = 450
MOST_LINES_OF_A_FUNCTION: Final = 60


def files(*suffixes: str) -> Iterator[tuple[str, str]]:
    """Yield each program's path in the project, and its text."""
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*"):
            name = path.relative_to(ROOT).as_posix()
            if path.suffix in suffixes and path.is_file() and not name.startswith(DATA):
                yield name, path.read_text(encoding="utf-8")


def functions(source: str) -> Iterator[tuple[str, int]]:
    """Yield each function's name and number of lines; its decorators do not count."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno
            yield node.name, node.end_lineno - node.lineno + 1


def test_no_file_is_too_long() -> None:
    found = {
        name for name, text in files(".py", ".sh", ".j2", ".nix") if text.count("\n") > MOST_LINES
    }

    assert not found, f"split what has more than {MOST_LINES} lines"


def test_no_function_is_too_long() -> None:
    found = {
        f"{name}: {function}"
        for name, source in files(".py")
        for function, lines in functions(source)
        if lines > MOST_LINES_OF_A_FUNCTION
    }

    assert not found, f"split what has more than {MOST_LINES_OF_A_FUNCTION} lines"
