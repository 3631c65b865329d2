"""plan.json of a submission folder (schemas/plan.schema.json), as the runner reads it.

A user may have edited plan.json, or a crash may have torn it. So its form is checked in one pass
before anything starts, also that its names stay inside their folders.
"""

from __future__ import annotations

import json
import os

from repx.runner import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

VERSION: Final = 2
_LARGEST: Final = 1 << 31  # bytes; 100,000 jobs need a tenth of that
MOST: Final = 1 << 53  # largest number allowed: times are floats


def read(folder: str) -> dict[str, Any]:
    """Return plan.json. Raises OSError; ValueError for a file that is no valid plan."""
    plan = load(folder)
    try:
        checked: dict[str, Any] = _checked(plan)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"plan.json is damaged: {error!r}") from None
    return checked


def load(folder: str) -> dict[str, Any]:
    """Return plan.json; check only its version. Raises OSError, ValueError."""
    try:
        plan = json.loads(files.read(f"{folder}/plan.json", _LARGEST).decode())
    except RecursionError:
        raise ValueError("plan.json is nested too deeply") from None
    except MemoryError:
        raise ValueError("plan.json is too large for this machine's memory") from None
    if not isinstance(plan, dict) or plan.get("version") != VERSION:
        raise ValueError(f"plan.json is not a plan of version {VERSION}")
    return plan


def _checked(plan: dict[str, Any]) -> dict[str, Any]:
    """Return a plan if its form is valid. Raises ValueError, KeyError, TypeError."""
    base, submission = plan["base"], plan["submission"]
    _want(_is_text(base) and base.startswith("/"), "base", base)
    _want(_is_text(submission) and all(map(_is_name, submission.split("/"))), "submission", "")
    asks, tasks, gates = plan["asks"], plan["tasks"], plan["gates"]
    for number, ladder in enumerate(asks):
        _want(bool(ladder) and all(map(_is_ask, ladder)), "asks", number)
    for number, task in enumerate(tasks):
        _want(_is_task(task, number, len(gates)), "task", number)
        _want(_are_units(task["units"], len(asks)), "units of task", number)
    for number, gate in enumerate(gates):
        known = _are_indices(gate["tasks"], len(tasks)) and all(map(_is_name, gate["waits"]))
        _want(known and gate["type"] in ("hard", "soft"), "gate", number)
    return plan


def _want(right: bool, what: str, value: object) -> None:  # noqa: FBT001  # reads as a statement
    if not right:
        raise ValueError(f"plan.json is damaged: {what} {value}")


def _is_task(task: dict[str, Any], number: int, gates: int) -> bool:
    """Tell whether a task is valid; tasks that it needs must come before it."""
    retries = task["retries"]
    return (
        _is_name(task["job"])
        and _is_text(task["run"])
        and isinstance(task["forced"], bool)
        and _are_indices(task["needs"], number)
        and _are_indices(task["gates"], gates)
        and all(map(_is_name, task["waits"]))
        and _is_count(retries["n"], MOST)
        and all(map(_is_text, retries["on"]))
    )


def _are_units(units: list[dict[str, Any]], asks: int) -> bool:
    """Tell whether these are valid units of a task; the first must run once per job."""
    return (
        bool(units)
        and not units[0]["per_branch"]
        and all(
            _is_name(unit["unit"])
            and isinstance(unit["per_branch"], bool)
            and _are_indices(unit["needs"], place)
            and _is_count(unit["ask"], asks)
            for place, unit in enumerate(units)
        )
    )


def _is_ask(ask: dict[str, Any]) -> bool:
    amounts = (ask["cpus"], ask["mem"], ask["time"], ask.get("gpus"))
    return all(each is None or _is_count(each, MOST) for each in amounts)


def _are_indices(numbers: Any, end: int) -> bool:  # noqa: ANN401  # any JSON
    return isinstance(numbers, list) and all(_is_count(number, end) for number in numbers)


def _is_count(number: object, end: int) -> bool:
    return type(number) is int and 0 <= number < end


def _is_text(text: Any) -> bool:  # noqa: ANN401  # any JSON
    """Tell whether a text can be a path: no NUL, no half of a surrogate pair."""
    if not isinstance(text, str):
        return False
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeError:
        return False


def _is_name(name: Any) -> bool:  # noqa: ANN401  # any JSON
    """Tell whether a text is a name in a folder, without a path out of the folder."""
    return _is_text(name) and name not in ("", ".", "..") and "/" not in str(name)
