"""plan.json as the runner reads it: what is not one of ours is refused before anything starts."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any, Final

import pytest

from repx.runner import plan

if TYPE_CHECKING:
    from pathlib import Path

TASK: Final[dict[str, Any]] = {
    "job": "a",
    "run": "r",
    "needs": [],
    "waits": ["b"],
    "gates": [0],
    "retries": {"n": 0, "on": ["oom"]},
    "forced": False,
    "reason": "",
    "units": [{"unit": "main", "needs": [], "per_branch": False, "ask": 0}],
}
PLAN: Final[dict[str, Any]] = {
    "version": 2,
    "submission": "20260101-000000-abcdef/bundles/1",
    "base": "/a store's",
    "lab": "l",
    "target": "t",
    "scheduler": "local",
    "asks": [[{"cpus": 1, "mem": None, "time": 60}]],
    "tasks": [TASK],
    "gates": [{"run": "q", "type": "soft", "tasks": [], "waits": ["c"]}],
}
WRONG: Final[dict[str, list[Any]]] = {
    "base": ["", "relative", None, 1, "/a\0", "/\ud800"],
    "submission": ["", "../x", "/x", "a//b", None, "a\0"],
    "asks": [None, [], [[]], [[{}]], [[{"cpus": -1, "mem": None, "time": None}]], {"a": 1}],
    "asks/0/0/time": [10**400, 1e308, "x", True],
    "tasks": [None, 1, "x", [None], [[]], {"a": 1}],
    "tasks/0/job": ["", ".", "..", "../x", "/etc/x", "a/b", "a\0", None, [], {}],
    "tasks/0/needs": [None, [0], [-1], ["0"], [True], [1e0], {}],
    "tasks/0/waits": [None, ["../x"], [1], 5],
    "tasks/0/gates": [[1], [-1], None],
    "tasks/0/retries": [
        None,
        {},
        {"n": -1, "on": []},
        {"n": 1, "on": [1]},
        {"n": 10**20, "on": []},
    ],
    "tasks/0/forced": [None, 1, "no"],
    "tasks/0/units": [None, [], {}, [None]],
    "tasks/0/units/0/unit": ["../x", "", None],
    "tasks/0/units/0/per_branch": [True, None, 0],
    "tasks/0/units/0/ask": [1, -1, None, "0"],
    "gates": [None, [None], [{}]],
    "gates/0/type": [None, "medium"],
    "gates/0/tasks": [[1], None],
    "version": [1, 3, "2", None],
}


def _read(folder: Path, document: object) -> dict[str, Any]:
    (folder / "plan.json").write_text(json.dumps(document))
    return plan.read(str(folder))


def test_a_plan_of_ours_is_read(tmp_path: Path) -> None:
    assert PLAN == _read(tmp_path, PLAN)


@pytest.mark.parametrize("place", WRONG)
def test_what_is_wrong_is_a_value_error(tmp_path: Path, place: str) -> None:
    for value in WRONG[place]:
        document = copy.deepcopy(PLAN)
        *above, last = [int(word) if word.isdecimal() else word for word in place.split("/")]
        holder: Any = document
        for step in above:
            holder = holder[step]
        holder[last] = value

        with pytest.raises(ValueError, match=r"plan\.json is"):
            _read(tmp_path, document)


@pytest.mark.parametrize("text", ["", "[" * 5000, "9" * 5000, "\0", "null", "[]"])
def test_what_is_no_document_is_a_value_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "plan.json").write_text(text)

    with pytest.raises(ValueError, match=r".+"):
        plan.read(str(tmp_path))
