"""plan.json of a submission folder (schemas/plan.schema.json), as the runner reads it."""

from __future__ import annotations

import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

VERSION: Final = 2


def read(folder: str) -> dict[str, Any]:
    """Return plan.json. Raises OSError; ValueError, KeyError for another kind of file."""
    with open(f"{folder}/plan.json", encoding="utf-8") as stream:
        plan: dict[str, Any] = json.load(stream)
    if plan["version"] != VERSION:
        raise ValueError(f"plan.json has version {plan['version']}, not {VERSION}")
    return plan
