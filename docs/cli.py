"""Write cli.md, the reference of the command line, from the commands themselves.

python docs/cli.py            writes it
python docs/cli.py --check    exits 1 when the page is not what it would write
"""  # noqa: INP001  # a script, not a package

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click

from repx.cli.context import COMMON, RepxCommand, RepxGroup
from repx.cli.group import root

PAGE: Final = Path(__file__).resolve().with_name("cli.md")

HEAD: Final = """\
# The command line

Made from the commands by `docs/cli.py`; every command tells the same with `--help`.

stdout is data, stderr is talk: tables come aligned and fitted on a terminal, and tab-separated,
without headings and with whole job ids in a pipe. `--json` gives a document instead.

A JOB is a job id, a unique beginning of one, an id as tables shorten it, or a run that ends in
one job. A NAME is that, any run, or a group (`@name`).

| Exit code | Meaning |
|---|---|
| 0 | all succeeded |
| 1 | some jobs failed |
| 2 | the input is wrong: the command line, lab.yaml, targets.yaml, the Lab |
| 3 | the target, the store or a tool failed |
| 130 | interrupted |
| 70 | a bug in repx |

`NO_COLOR` turns colours off. TAB completion: [`repx completions`](#repx-completions).

## Options of every command

They may stand before or after the command's name; the one after wins.
"""


def page() -> str:
    """Return the text of the whole page."""
    lines = [HEAD.rstrip(), "", *options(root, common=True)]
    for name in root.list_commands(click.Context(root)):
        command = root.get_command(click.Context(root), name)
        lines.extend(section(f"repx {name}", command))
    return "\n".join([*lines, ""])


def section(path: str, command: click.Command | None) -> Iterator[str]:
    """Yield a command's part of the page, and those of its sub-commands."""
    if not isinstance(command, RepxCommand | RepxGroup):
        message = f"{path}: not made with repx.cli.context"
        raise TypeError(message)
    depth = "#" * (1 + path.count(" "))
    yield from ("", f"{depth} {path}", "", f"    {usage(path, command)}", "")
    yield inspect.cleandoc(command.help or "")
    own = list(options(command, common=False))
    if own:
        yield from ("", *own)
    yield from ("", "```sh", command.examples, "```")
    if isinstance(command, click.Group):
        for name, child in command.commands.items():
            yield from section(f"{path} {name}", child)


def usage(path: str, command: click.Command) -> str:
    """Return the command's words, in the order they are typed."""
    arguments = [argument(each) for each in command.params if isinstance(each, click.Argument)]
    commands = ["COMMAND"] if isinstance(command, click.Group) else []
    return " ".join([path, "[OPTION]...", *commands, *arguments])


def argument(parameter: click.Argument) -> str:
    """Return an argument as help texts show it."""
    if isinstance(parameter.type, click.Choice):
        return "|".join(parameter.type.choices)
    word = parameter.metavar or str(parameter.name).upper()
    return word if parameter.required or word.startswith("[") else f"[{word}]"


def options(command: click.Command, *, common: bool) -> Iterator[str]:
    """Yield the lines of a table of a command's options; nothing when it has none."""
    rows = [
        f"| {names(option)} | {' '.join((option.help or '').split())} |"
        for option in command.params
        if isinstance(option, click.Option) and (option.name in COMMON) is common
        if not option.hidden
    ]
    if rows:
        yield from ("| Option | Meaning |", "|---|---|", *rows)


def names(option: click.Option) -> str:
    """Return an option's spellings, with what it takes."""
    takes = option.metavar
    if isinstance(option.type, click.Choice) and takes is None:
        takes = "|".join(option.type.choices)
    elif takes is None and not option.is_flag and not option.count:
        takes = "N"
    spelt = ", ".join(f"`{name}`" for name in option.opts)
    return f"{spelt} {takes}".replace("|", "\\|") if takes else spelt


def main() -> int:
    """Write the page, or with ``--check`` compare it; return the exit code."""
    text = page()
    if "--check" in sys.argv[1:]:
        return int(not PAGE.exists() or PAGE.read_text(encoding="utf-8") != text)
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
