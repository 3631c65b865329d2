"""`repx completions`: TAB knows the commands, options, runs, stages and jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click
from click.shell_completion import get_completion_class

from repx import console
from repx.cli import COMPLETION_VARIABLE
from repx.cli.context import Context, command

if TYPE_CHECKING:
    from click.shell_completion import ShellComplete

SHELLS: Final = ("bash", "zsh", "fish")

# Click's own script would insert a name with a blank unquoted, and takes `@group` for two words.
_BASH: Final = """\
COMP_WORDBREAKS=${COMP_WORDBREAKS//@/} # @group is one word
_repx_completion() {
  local IFS=$'\\n' line value
  COMPREPLY=()
  while read -r line; do
    case ${line%%,*} in
      dir) compopt -o dirnames ;;
      file) compopt -o default ;;
      plain) printf -v value %q "${line#*,}" && COMPREPLY+=("$value") ;;
    esac
  done < <(
    COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD=$COMP_CWORD _REPX_COMPLETE=bash_complete \\
      "$1" 2>/dev/null
  )
}
complete -o nosort -F _repx_completion repx 2>/dev/null || complete -F _repx_completion repx"""


@command(
    examples="""
        eval "$(repx completions bash)"      # in ~/.bashrc
        eval "$(repx completions zsh)"       # in ~/.zshrc, after compinit
        repx completions fish > ~/.config/fish/completions/repx.fish
        """
)
@click.argument("shell", type=click.Choice(SHELLS), required=False)
@click.option("--shell", "named", type=click.Choice(SHELLS), help="SHELL, as RepX 0.5 takes it.")
def completions(context: Context, shell: str | None, named: str | None) -> None:
    """Print the script that teaches SHELL to complete repx commands.

    It completes commands and options, and from the Lab: runs, groups, stages and jobs, once a
    few characters of an id are typed.
    """
    del context
    from repx.cli.group import root

    wanted = shell or named
    if wanted is None:
        raise click.UsageError(f"name a shell: {', '.join(SHELLS)}")
    console.out(_BASH if wanted == "bash" else _completer(root, wanted).source())


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
