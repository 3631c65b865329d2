"""``repx completions``: TAB knows the commands, options, runs, stages and jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from click.shell_completion import get_completion_class

from repx import console
from repx.cli import COMPLETION_VARIABLE
from repx.cli.context import Context, command

if TYPE_CHECKING:
    from click.shell_completion import ShellComplete

SHELLS = ("bash", "zsh", "fish")


@command(
    examples="""
        eval "$(repx completions bash)"                        # in ~/.bashrc
        repx completions zsh > ~/.zfunc/_repx                  # a folder in $fpath
        repx completions fish > ~/.config/fish/completions/repx.fish
        """
)
@click.argument("shell", type=click.Choice(SHELLS))
def completions(context: Context, shell: str) -> None:
    """Print the script that teaches SHELL to complete repx commands.

    It completes commands and options, and from the Lab: runs, groups, stages and jobs.
    """
    del context
    from repx.cli.group import root

    console.out(_completer(root, shell).source_template % _names(root, shell))


def answer(root: click.Command, instruction: str) -> int:
    """Write what the shell asked for in the completion variable, e.g. ``bash_complete``."""
    shell, _, wish = instruction.partition("_")
    if shell not in SHELLS or wish != "complete":
        return 1
    console.out(_completer(root, shell).complete())
    return 0


def _completer(root: click.Command, shell: str) -> ShellComplete:
    completer = get_completion_class(shell)
    assert completer is not None  # noqa: S101  # SHELLS are those that click knows
    return completer(root, {}, "repx", COMPLETION_VARIABLE)


def _names(root: click.Command, shell: str) -> dict[str, str]:
    return {
        "complete_func": _completer(root, shell).func_name,
        "complete_var": COMPLETION_VARIABLE,
        "prog_name": "repx",
    }
