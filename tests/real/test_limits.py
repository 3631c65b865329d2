"""Little memory, few descriptors, nonsense in variables: it works, or one clear error says why."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from tests.real.place import Place

pytestmark = pytest.mark.real

LAB: Final[dict[str, object]] = {
    "name": "small",
    "stages": {
        "a": {"parameters": {"n": 0}, "outputs": {"x": "$out/x"}, "run": "echo ${parameters[n]} >x"}
    },
    "pipelines": {"main": ["a"]},
    "runs": {"r": {"parameters": {"n": [1, 2, 3]}}},
}
COMMANDS: Final = ("build", "verify", "run -j 2", "status", "list jobs", "targets")
OURS: Final = ("GRACE_S", "PYTHON", "ATTEMPT", "LOCK", "LOCK_FD", "RUNG", "REAPER", "UNIT", "DEBUG")


@pytest.fixture
def here(defined: Callable[..., Place]) -> Place:
    return defined(LAB)


def _within(here: Place, limit: str) -> Place:
    return dataclasses.replace(here, before=("bash", "-c", f'ulimit {limit}; exec "$@"', "bash"))


def _tried(here: Place, command: str, **env: str) -> tuple[int, str]:
    process = here.start(*command.split(), **env)
    out, err = process.communicate(timeout=120)
    return process.returncode, out + err


@pytest.mark.parametrize("kib", [30_000, 40_000, 60_000, 80_000])
def test_little_memory_is_told_in_one_error(here: Place, kib: int) -> None:
    small = _within(here, f"-v {kib}")
    for command in COMMANDS:
        code, said = _tried(small, command)
        assert code in {0, 1, 2, 3, 127, 139}, said  # the last two: Python itself cannot start
        assert "Traceback" not in said
        assert code not in {2, 3} or "error: " in said


@pytest.mark.parametrize("descriptors", [10, 14, 20])
def test_few_descriptors_are_enough_or_told(here: Place, descriptors: int) -> None:
    small = _within(here, f"-n {descriptors}")
    for command in COMMANDS:
        code, said = _tried(small, command)
        assert code in {0, 3}, said
        assert "Traceback" not in said
        assert code == 0 or "Too many open files" in said


@pytest.mark.parametrize("value", ["", "-1", "9" * 5000, "x[$(exit 9)] 1", "\\\n", "é*"])
def test_nonsense_in_variables_of_ours_ends_in_success_or_in_an_error(
    here: Place, value: str
) -> None:
    nonsense = {f"REPX_{name}": value for name in OURS if name != "PYTHON"}
    for command in COMMANDS:
        code, said = _tried(here, command, **nonsense)
        assert (0, False) == (code, "Traceback" in said), said
