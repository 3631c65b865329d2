"""Variables of a target that cannot have the value that they are given."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from repx.config import targets
from tests.unit.test_targets import load, said

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("UID: {from: ~/.token}", "bash sets UID itself, not to a secret"),
        ("_: {from: ~/.token}", "bash sets _ itself, not to a secret"),
        ("TOKEN: {env: SHELLOPTS}", "bash sets SHELLOPTS itself, not to a secret"),
        ("REPX_UNIT: x", "repx marks the processes of a job with REPX_UNIT"),
    ],
)
def test_a_variable_that_cannot_be_is_named(tmp_path: Path, given: str, why: str) -> None:
    (problem,) = said(
        tmp_path, f"targets:\n  here: {{base_path: /store, environment: {{{given}}}}}\n"
    )

    place, _, words = problem.partition(": ")
    assert place.startswith("targets.yaml:2:")
    assert f"environment: {why}: use another variable" == words


@pytest.mark.parametrize("given", ["UID: 5", "SECONDS: {from: ~/.token}", "TOKEN: {env: RANDOM}"])
def test_any_other_variable_is_taken(tmp_path: Path, given: str) -> None:
    text = f"targets:\n  here: {{base_path: /store, environment: {{{given}}}}}\n"

    assert "here" == targets.choose(load(tmp_path, text), None).name
