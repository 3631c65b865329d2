"""The options by which run and render are told which jobs are meant, and how much may run."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import click

from repx import select
from repx.cli import complete
from repx.cli.context import Context
from repx.config.units import parse_memory
from repx.errors import InputError
from repx.plan import Wish
from repx.schedulers.contract import Limits
from repx.target import SchedulerName

if TYPE_CHECKING:
    from collections.abc import Callable

    from repx.model import Lab

_SELECTION = (
    click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=complete.names),
    click.option(
        "-s",
        "--stage",
        "stages",
        multiple=True,
        metavar="NAME",
        shell_complete=complete.stages,
        help="Only this stage.",
    ),
    click.option("--failed", is_flag=True, help="Only jobs that failed or were interrupted."),
    click.option(
        "--force",
        is_flag=True,
        help="Also run jobs that succeeded, and the jobs that depend on them.",
    ),
    click.option(
        "--only",
        is_flag=True,
        help="With --force: do not run dependent jobs; they are shown as stale.",
    ),
    click.option(
        "--gone", is_flag=True, help="Only jobs whose outputs were deleted; they run again."
    ),
    click.option(
        "--remake",
        is_flag=True,
        help="Also run jobs that made deleted inputs, and the jobs that depend on them.",
    ),
)
_LIMITS = (
    click.option(
        "-j", "--jobs", type=click.IntRange(min=1), metavar="N", help="Run at most N jobs at once."
    ),
    click.option("--cpus", type=click.IntRange(min=1), metavar="N", help="Use at most N cores."),
    click.option("--mem", metavar="SIZE", help="Use at most this much memory, e.g. 16G."),
    click.option(
        "-k",
        "--keep-going",
        is_flag=True,
        help="After a failure, keep running jobs that do not depend on the failed one.",
    ),
    click.option(
        "--continue-on-failure",
        "going_on",
        is_flag=True,
        hidden=True,
        help="RepX 0.5's name of --keep-going.",
    ),
)


def _remember_scheduler(ctx: click.Context, parameter: click.Parameter, value: str | None) -> None:
    del parameter
    ctx.ensure_object(Context).scheduler_name = SchedulerName(value) if value else None


def _remember_isolation(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
    del parameter
    ctx.ensure_object(Context).isolate = value


def _remember_source(ctx: click.Context, parameter: click.Parameter, value: str | None) -> None:
    del parameter
    ctx.ensure_object(Context).source_word = value


from_option = click.option(
    "--from",
    metavar="TARGET|URL",
    expose_value=False,
    callback=_remember_source,
    help="Bring results of another target, or of an archive, instead of running those jobs.",
)
scheduler_option = click.option(
    "--scheduler",
    type=click.Choice([name.value for name in SchedulerName]),
    metavar="NAME",
    expose_value=False,
    callback=_remember_scheduler,
    help=f"Use this scheduler instead of the target's: {' or '.join(SchedulerName)}.",
)
isolate_option = click.option(
    "--isolate",
    is_flag=True,
    expose_value=False,
    callback=_remember_isolation,
    help="Show jobs only what they declare, on the root of their node (with bwrap).",
)
trust_option = click.option(
    "--trust", is_flag=True, help="Run the programs of a Lab from elsewhere without asking."
)


def selection_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``[NAME]...`` and the options of ``_SELECTION``.

    The command gets them as one argument, ``wish``: a function from a Lab to a Wish, which
    raises InputError for a name that the Lab lacks.
    """

    @functools.wraps(function)
    def command(
        *args: object,
        names: tuple[str, ...],
        stages: tuple[str, ...],
        failed: bool,
        gone: bool,
        force: bool,
        only: bool,
        remake: bool,
        **others: object,
    ) -> object:
        def wish(lab: Lab) -> Wish:
            if only and not (force or gone or remake):
                message = "--only says what --force leaves, and --force is not there"
                raise InputError(message, hint="write `--force --only`, or neither")
            jobs = select.jobs(lab, names, stages)
            return Wish(
                jobs=jobs, force=force, only=only, only_failed=failed, only_gone=gone, remake=remake
            )

        return function(*args, wish=wish, **others)

    return _with(_SELECTION, command)


def limit_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``-j``, ``--cpus``, ``--mem`` and ``--keep-going``; the command gets ``limits``."""

    @functools.wraps(function)
    def command(
        *args: object,
        jobs: int | None,
        cpus: int | None,
        mem: str | None,
        keep_going: bool,
        going_on: bool,
        **others: object,
    ) -> object:
        keep_going = keep_going or going_on
        mem_bytes = None if mem is None else parse_memory(mem)
        limits = Limits(jobs=jobs, cpus=cpus, mem_bytes=mem_bytes, keep_going=keep_going)
        return function(*args, limits=limits, **others)

    return _with(_LIMITS, command)


def _with(
    decorators: tuple[Callable[..., Any], ...], function: Callable[..., Any]
) -> Callable[..., Any]:
    for decorate in reversed(decorators):
        function = decorate(function)
    return function
