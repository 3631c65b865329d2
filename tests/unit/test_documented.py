"""What a user can type or write is documented: every command, every key."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from repx.cli.group import COMMANDS, SECTIONS

ROOT: Final = Path(__file__).parents[2]
PAGES: Final = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SCHEMAS: Final = sorted((ROOT / "schemas").glob("*.json"))


@pytest.mark.parametrize("name", COMMANDS)
def test_command_is_in_the_pages(name: str) -> None:
    assert any(f"repx {name}" in page.read_text(encoding="utf-8") for page in PAGES)


def test_every_command_has_one_section_of_the_help() -> None:
    assert sorted(COMMANDS) == sorted(name for names in SECTIONS.values() for name in names)


def undescribed(schema: Any, place: str = "") -> Iterator[str]:  # noqa: ANN401  # any JSON
    """Yield the place of every property without a description, wherever it is nested."""
    if isinstance(schema, list):
        for index, part in enumerate(schema):
            yield from undescribed(part, f"{place}/{index}")
    elif isinstance(schema, dict):
        for key, part in schema.items():
            if key == "properties":
                for name, value in part.items():
                    if not isinstance(value, dict) or not ({"description", "$ref"} & value.keys()):
                        yield f"{place}/{name}"
            yield from undescribed(part, f"{place}/{key}")


@pytest.mark.parametrize("path", SCHEMAS, ids=lambda path: path.name)
def test_every_key_of_a_schema_is_described(path: Path) -> None:
    schema = json.loads(path.read_text(encoding="utf-8"))

    assert list(undescribed(schema)) == []
