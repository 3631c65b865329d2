"""What every command shares: the common options, what they mean, and the look of a help text."""

from __future__ import annotations

import gc
import os
import textwrap
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, ParamSpec

import click

from repx import __version__, console
from repx.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from repx.brought import Source
    from repx.config.resources import Resolver
    from repx.config.targets import Targets
    from repx.lab.load import OpenLab
    from repx.lab.verify import Verdict
    from repx.model import JobId, Lab
    from repx.plan import Explain
    from repx.sources import Supply
    from repx.status import JobState
    from repx.store import Store
    from repx.target import SchedulerName, Target

P = ParamSpec("P")

DEFAULT_LAB: Final = Path("result")


@dataclass(slots=True, kw_only=True)
class Context:
    """The common options of one call. Mutable: an option may stand before or after the name."""

    lab_path: Path = DEFAULT_LAB
    target_name: str | None = None
    targets_file: Path | None = None
    resources_file: Path | None = None
    scheduler_name: SchedulerName | None = None
    source_word: str | None = None
    isolate: bool = False
    verbose: int = 0
    json: bool = False
    reached: tuple[Target, Store] | None = None

    def open_lab(self) -> OpenLab:
        """Open the Lab. Raises LabError where there is none or it is broken."""
        from repx.lab.load import open_lab

        opened = open_lab(self.lab_path)
        gc.freeze()  # it stays as it is; looking through 100,000 jobs for garbage takes seconds
        return opened

    def lab_to_look_at(self) -> OpenLab:
        """Open the Lab; say in one line if it is older than its definition."""
        from repx.cli import forgotten

        opened = self.open_lab()
        forgotten.tell(self.lab_path)
        return opened

    def lab_to_run(self, *, as_it_is: bool) -> OpenLab:
        """Open the Lab, built again first if it is older than its definition."""
        from repx.cli import forgotten

        if as_it_is:
            return self.lab_to_look_at()
        forgotten.build(self.lab_path)
        return self.open_lab()

    def explain(self, opened: OpenLab) -> Explain:
        """Return what says why jobs are new, from the project's Lab before this one."""

        def explain(jobs: Collection[JobId]) -> Mapping[JobId, str]:
            from repx.errors import RepxError
            from repx.lab import compare, history
            from repx.lab.load import open_lab

            before = history.before(self.lab_path)
            if before is None:
                return {}
            try:
                old = compare.Side(opened=open_lab(before))
            except RepxError:  # a Lab of the past that is broken explains nothing
                return {}
            return compare.reasons(old, compare.Side(opened=opened), jobs)

        return explain

    def note_run(self) -> None:
        """Remember that the Lab is run: later ones are compared with it."""
        from repx.lab import history

        history.note_run(self.lab_path)

    def obsolete(self, opened: OpenLab, store: Store) -> list[JobId]:
        """Return the jobs in the queue of the project's earlier Labs that none of it needs now."""
        from repx.lab import history

        earlier = history.earlier_ids(self.lab_path)
        if not earlier:
            return []
        from repx import obsolete
        from repx.lab.load import open_lab

        needed = {*opened.lab.jobs}
        for link in history.others(self.lab_path):
            needed.update(open_lab(link).lab.jobs)
        return obsolete.jobs(store, earlier - {opened.lab.id}, needed)

    def verify(self, opened: OpenLab, *, full: bool = False) -> Verdict:
        """Check the Lab's files against their sums, unless it was done before."""
        from repx.config import xdg
        from repx.lab.verify import verify

        folder = xdg.cache(os.environ)
        cache = folder and folder / "verified"
        return verify(opened, cache=cache, full=full)

    def trust(self, opened: OpenLab, *, asked_for: bool) -> None:
        """Make sure that the user means to run a Lab's programs (docs/security.md).

        Raises InputError when the user, asked on a terminal, does not.
        """
        from repx.config import xdg
        from repx.lab import trust

        state = xdg.state(os.environ)
        if trust.is_trusted(opened, state):
            return
        told = f"Lab {opened.lab.id[:12]} was not built here; its programs run as you"
        if asked_for or not console.can_ask():
            console.note(told)
        elif not console.confirm(f"{told}. Run it?"):
            hint = "look at it first: repx list jobs, repx show job JOB; --trust answers yes"
            raise InputError("the Lab is not trusted", hint=hint)
        if asked_for or console.can_ask():
            trust.remember(opened.files.read(opened.lab.manifest), state)

    def targets(self) -> Targets:
        """Return the target profiles. Raises ProblemsError with every mistake in them."""
        from repx.config import targets, xdg

        cwd, resources = xdg.current_folder(), self.resources_file
        return targets.load(self.targets_file, cwd=cwd, env=os.environ, resources=resources)

    def target(self) -> Target:
        """Return the profile that was named, or the default one."""
        from repx.config import targets

        chosen = targets.choose(self.targets(), self.target_name)
        if self.isolate:
            from repx.target import RootName, RuntimeName

            chosen = replace(chosen, rootfs=RootName.HOST, runtimes=(RuntimeName.BWRAP,))
        if self.scheduler_name is None:
            return chosen
        return replace(chosen, scheduler=self.scheduler_name)

    def store(self, target: Target | None = None) -> Store:
        """Return the target's store, whose connection every caller shares.

        Raises InputError for one that cannot be reached.
        """
        from repx import store

        target = target or self.target()
        if self.reached is None or self.reached[0] != target:
            self.reached = (target, store.of(target))
        return self.reached[1]

    def source(self, word: str, lab: Lab) -> Source:
        """Return where results may come from. Raises InputError for what is no such place."""
        from repx import sources

        return sources.named(word, self.targets().profiles, lab, self.target())

    def supply(self, lab: Lab) -> Supply:
        """Return where results may come from: the target's caches and what the user named."""
        from repx import sources

        word = self.source_word
        if word is None:
            return sources.supply(self.target(), None)
        with sources.way_out(word):
            named = self.source(word, lab)
        return sources.supply(self.target(), named)

    def states(self, lab: Lab) -> dict[JobId, JobState]:
        """Return what is known of every job. Raises StorageError for an unreadable store."""
        from repx import observe

        return observe.states(lab, self.store())

    def resources_of(self, lab: Lab, target: Target) -> Resolver:
        """Return what finds a job's resources: the target's rules, then ``--resources``."""
        from repx.config import rules
        from repx.config.resources import Resolver

        found = target.resources
        if self.resources_file is not None:
            found += rules.load(self.resources_file, os.environ)
        return Resolver(lab, target.name, found)


class _Help(click.Command):
    """Orders a help text: what the command takes, what every command takes, examples."""

    examples: str

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401  # as click has it
        """Call the command's function, the library's warnings being shown from here on."""
        console.listen()
        return super().invoke(ctx)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write sub-commands, then the command's own options, then the common ones."""
        if isinstance(self, click.Group):
            self.format_commands(ctx, formatter)
        own: list[tuple[str, str]] = []
        common: list[tuple[str, str]] = []
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and isinstance(parameter, click.Option):
                (common if parameter.name in COMMON else own).append(record)
        for title, records in (("Options", own), ("Common options", common)):
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples as they are, without wrapping them."""
        del ctx
        formatter.write_paragraph()
        formatter.write(f"Examples:\n{textwrap.indent(self.examples, '  ')}\n")


class RepxCommand(_Help):
    """A command with the common options and examples in its help."""

    def __init__(self, *args: Any, examples: str, **kwargs: Any) -> None:  # noqa: ANN401
        """Add the common options behind the command's own."""
        super().__init__(*args, **kwargs)
        self.examples = textwrap.dedent(examples).strip()
        self.params.extend(_common_options())


class RepxGroup(_Help, click.Group):
    """A command with sub-commands, the common options and examples in its help."""

    command_class = RepxCommand

    def __init__(
        self,
        *args: Any,  # noqa: ANN401  # passed on to click
        examples: str,
        version: bool = False,
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        """Add the common options, and ``--version`` where asked."""
        super().__init__(*args, **kwargs)
        self.examples = textwrap.dedent(examples).strip()
        self.params.extend(_common_options())
        if version:
            self.params.append(_version_option())

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the words; without any, a group that only holds commands explains itself."""
        if not args and self.no_args_is_help and not ctx.resilient_parsing:
            console.out(ctx.get_help())
            ctx.exit()
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the sub-command. Raises InputError with a suggestion when there is none."""
        if not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            raise self.unknown(ctx, args[0])
        return super().resolve_command(ctx, args)

    def unknown(self, ctx: click.Context, name: str) -> InputError:
        """Return the error for a sub-command that does not exist."""
        near = did_you_mean(name, self.list_commands(ctx))
        hint = near or f"`{ctx.command_path} --help` lists them"
        return InputError(f"unknown command '{ctx.command_path} {name}'", hint=hint)


def command(
    *,
    examples: str,
    name: str | None = None,
    **attributes: Any,  # noqa: ANN401  # for click
) -> Callable[[Callable[..., int | None]], RepxCommand]:
    """Make a click command of ``function(context, ...)``; an int returned is the exit code.

    The function's docstring is the help text. Options and arguments are added with
    ``click.option`` and ``click.argument`` below this decorator.
    """
    return lambda function: click.command(name, cls=RepxCommand, examples=examples, **attributes)(
        click.pass_obj(function)
    )


def group(
    *,
    examples: str,
    name: str | None = None,
    **attributes: Any,  # noqa: ANN401  # for click
) -> Callable[[Callable[..., int | None]], RepxGroup]:
    """Make a click group of ``function(context, ...)``, called when no sub-command is named."""
    return lambda function: click.group(name, cls=RepxGroup, examples=examples, **attributes)(
        click.pass_obj(function)
    )


def _remember(ctx: click.Context, parameter: click.Parameter, value: Any) -> None:  # noqa: ANN401
    """Keep an option's value in the Context; what stands later on the line wins."""
    context = ctx.ensure_object(Context)
    if value is None or value is False or value == 0 or parameter.name is None:
        return
    if parameter.name == "verbose":
        context.verbose += value
        console.set_verbosity(context.verbose)
        return
    setattr(context, parameter.name, value)


def _complete_targets(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    from repx.cli import complete  # which needs Context

    return complete.targets(ctx, parameter, incomplete)


def _common_options() -> list[click.Option]:
    path = click.Path(path_type=Path)
    shared: dict[str, Any] = {"expose_value": False, "callback": _remember}
    return [
        click.Option(
            ["-l", "--lab", "lab_path"],
            type=path,
            metavar="PATH",
            help="The Lab, a folder or a tar.  [default: ./result]",
            **shared,
        ),
        click.Option(
            ["--target", "target_name"],
            metavar="NAME",
            shell_complete=_complete_targets,
            help="Where jobs run; `repx targets` lists the names.",
            **shared,
        ),
        click.Option(
            ["--targets", "targets_file"],
            type=path,
            metavar="FILE",
            help="The profiles to use.  [default: ./targets.yaml, then the user's]",
            **shared,
        ),
        click.Option(
            ["--resources", "resources_file"],
            type=path,
            metavar="FILE",
            help="Resource rules that come after those of the target.",
            **shared,
        ),
        click.Option(["--json", "json"], is_flag=True, help="Print JSON to stdout.", **shared),
        click.Option(
            ["-v", "--verbose", "verbose"],
            count=True,
            help="Print decisions; given twice, print each command too.",
            **shared,
        ),
    ]


COMMON: Final = frozenset(option.name for option in _common_options()) | {
    "_click_default_help",
    "help",
}


def _version_option() -> click.Option:
    def show(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
        del parameter
        if value and not ctx.resilient_parsing:
            console.out(f"repx {__version__}")
            ctx.exit()

    return click.Option(
        ["-V", "--version"],
        is_flag=True,
        expose_value=False,
        is_eager=True,
        callback=show,
        help="Print the version.",
    )
