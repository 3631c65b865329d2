"""The table of commands, so that asking for one loads only that one."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

from repx.cli.context import RepxGroup
from repx.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

    import click
    from click.shell_completion import CompletionItem

COMMANDS: Final[Mapping[str, tuple[str, str]]] = {
    "init": ("repx.cli.init:init", "Write a starter project that builds and runs."),
    "build": ("repx.cli.build:build", "Turn lab.yaml into a Lab."),
    "viz": ("repx.cli.viz:viz", "Draw the stages, runs and dependencies of a Lab."),
    "run": ("repx.cli.run:run", "Run what is not done yet."),
    "render": ("repx.cli.render:render", "Write the scripts of a run without starting it."),
    "status": ("repx.cli.status:status", "Show what is done, running, failed and why."),
    "pull": ("repx.cli.pull:pull", "Bring results from a target or an archive."),
    "push": ("repx.cli.push:push", "Add results to an archive that others pull from."),
    "cancel": ("repx.cli.cancel:cancel", "Stop jobs that are queued or running."),
    "log": ("repx.cli.log:log", "Show what a job printed."),
    "list": ("repx.cli.list:list_", "List runs, jobs, dependencies or groups."),
    "show": ("repx.cli.show:show", "Explain one job, or show its output files."),
    "trace-params": (
        "repx.cli.trace_params:trace_params",
        "Show the effective parameters of jobs.",
    ),
    "usage": ("repx.cli.usage:usage", "Show what jobs asked for and what they used."),
    "debug-run": ("repx.cli.debug_run:debug_run", "Open a shell in a job's exact environment."),
    "diff": ("repx.cli.diff:diff", "Say which jobs are new since the Lab before, and why."),
    "gc": ("repx.cli.collect:gc", "Remove images from nodes that no job used for long."),
    "verify": ("repx.cli.verify:verify", "Check every file of a Lab against its checksum."),
    "connect": ("repx.cli.connect:connect", "Authenticate at a target once for many commands."),
    "targets": ("repx.cli.targets:targets", "List the places where jobs can run, and check them."),
    "completions": ("repx.cli.completions:completions", "Print a completion script for a shell."),
}

SECTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "Define": ("init", "build", "diff", "viz", "verify"),
    "Run": ("run", "render", "status", "cancel", "pull", "push", "targets", "connect", "gc"),
    "Look": ("list", "show", "log", "trace-params", "usage", "debug-run"),
    "Shell": ("completions",),
}


class RootGroup(RepxGroup):
    """``repx`` itself: its commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the table."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of one command and return the command."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def unknown(self, ctx: click.Context, name: str) -> InputError:
        """Return the error for a command that does not exist."""
        del ctx
        near = did_you_mean(name, COMMANDS)
        return InputError(f"unknown command '{name}'", hint=near or "`repx --help` lists them")

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table by section without importing a single command."""
        del ctx
        width = max(map(len, COMMANDS))
        for title, names in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(width), COMMANDS[name][1]) for name in names])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete a command's name from the table."""
        from click.shell_completion import CompletionItem  # only on TAB

        if incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        return [
            CompletionItem(name, help=text)
            for name, (_, text) in COMMANDS.items()
            if name.startswith(incomplete)
        ]


root = RootGroup(
    name="repx",
    help="Reproducible experiments: define once, run on a laptop or on Slurm.",
    examples="""
        repx init my-experiment && cd my-experiment
        repx build && repx run
        repx status
        """,
    version=True,
)
