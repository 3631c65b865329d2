"""What make installs is locked: the newest versions, and the oldest that are allowed."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[2]
PYPROJECT: Final[dict[str, Any]] = tomllib.loads(
    (ROOT / "pyproject.toml").read_text(encoding="utf-8")
)
PROJECT: Final = PYPROJECT["project"]
RUNTIME: Final = (
    *PROJECT["dependencies"],
    *(each for extra in PROJECT["optional-dependencies"].values() for each in extra),
)
TOOLS: Final = tuple(
    each
    for group in PYPROJECT["dependency-groups"].values()
    for each in group
    if isinstance(each, str)
)


def locked(name: str) -> dict[str, str]:
    """Return the versions in a lock, by name; where they depend on Python, the first."""
    text = (ROOT / ".ci" / name).read_text(encoding="utf-8")
    return dict(reversed(re.findall(r"^([a-z0-9_.-]+)==(\S+)", text, re.MULTILINE)))


def split(requirement: str) -> tuple[str, str]:
    """Return the name and the lower bound of a requirement, which is all that it may have."""
    found = re.fullmatch(r"([a-z0-9-]+)(?:\[[a-z0-9,-]+\])?(?:>=([0-9.]+))?", requirement)
    assert found, f"{requirement}: wanted NAME>=VERSION"
    return found[1], found[2] or ""


def test_everything_make_installs_is_locked() -> None:
    missing = {split(each)[0] for each in (*RUNTIME, *TOOLS)} - locked("locked.txt").keys()

    assert not missing, "run `make lock`"


def test_the_oldest_versions_tried_are_the_lower_bounds() -> None:
    bounds = dict(map(split, RUNTIME))
    oldest = locked("lowest.txt")

    tried = {name: re.sub(r"(\.0)+$", "", oldest.get(name, "none")) for name in bounds}

    assert {name: re.sub(r"(\.0)+$", "", bound) for name, bound in bounds.items()} == tried, (
        "run `make lock`"
    )
