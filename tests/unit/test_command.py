"""Commands run to their end, or not longer than they may."""

from __future__ import annotations

import re

import pytest

from repx.errors import CommandError, CommandNotFoundError
from repx.places import command
from repx.places.command import Completed

pytestmark = pytest.mark.slow  # each starts a process


def test_what_a_command_says_and_how_it_ends_are_returned() -> None:
    said = command.run(["sh", "-c", "cat; echo aside >&2; exit 3"], stdin="in\n", check=False)

    assert Completed(code=3, stdout="in\n", stderr="aside\n") == said


def test_a_signal_is_a_negative_code() -> None:
    assert command.run(["sh", "-c", "kill -9 $$"], check=False).code == -9


def test_large_answers_are_whole() -> None:
    said = command.run(["sh", "-c", "head -c 3000000 /dev/zero | tr '\\0' a"])

    assert "a" * 3_000_000 == said.stdout


def test_a_command_that_does_not_end_is_killed() -> None:
    with pytest.raises(CommandError, match=re.escape("no answer within 0.2 s")):
        command.run(["sleep", "1000"], timeout_s=0.2)


def test_a_failed_command_is_an_error_unless_that_is_expected() -> None:
    with pytest.raises(CommandError, match="`false` failed with exit code 1"):
        command.run(["false"])

    assert command.run(["false"], check=False).code == 1


def test_a_command_that_is_not_installed_is_named() -> None:
    with pytest.raises(CommandNotFoundError, match="`no-such-program` is not installed"):
        command.run(["no-such-program"])
