"""Every command explains itself, and the page made from the commands is up to date."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click
import pytest

from repx.cli.context import COMMON, RepxCommand, RepxGroup
from repx.cli.group import root

DOCS: Final = Path(__file__).parents[2] / "docs"


def commands(path: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    """Yield each command with the words that call it."""
    yield path, command
    if isinstance(command, click.Group):
        for name in command.list_commands(click.Context(command)):
            found = command.get_command(click.Context(command), name)
            assert found is not None
            yield from commands(f"{path} {name}", found)


ALL: Final = dict(commands("repx", root))


@pytest.mark.parametrize("path", ALL)
def test_command_has_a_help_and_an_example_of_itself(path: str) -> None:
    command = ALL[path]

    assert isinstance(command, RepxCommand | RepxGroup)
    assert (command.help or "").strip().endswith(".")
    assert path in command.examples


@pytest.mark.parametrize("path", ALL)
def test_every_option_is_explained(path: str) -> None:
    options = [each for each in ALL[path].params if isinstance(each, click.Option)]

    assert COMMON - {"help", "_click_default_help"} <= {option.name for option in options}
    assert [] == [option.name for option in options if not option.help]


@pytest.mark.parametrize("path", ALL)
def test_help_fits_80_columns(path: str) -> None:
    command = ALL[path]
    shown = command.get_help(click.Context(command, info_name=path, terminal_width=80))

    assert [] == [line for line in shown.splitlines() if len(line) > 80]


@pytest.mark.slow
def test_the_reference_page_is_what_the_commands_say() -> None:
    done = subprocess.run([sys.executable, DOCS / "cli.py", "--check"], check=False)

    assert done.returncode == 0, "run `python docs/cli.py`"
