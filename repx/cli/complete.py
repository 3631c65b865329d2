"""What TAB offers from the Lab and the targets; silent where there is none or it is broken."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from repx.cli.context import Context
from repx.errors import RepxError
from repx.model import short_id, stage_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import click

    from repx.model import JobId, Lab

    Complete: TypeAlias = Callable[[click.Context, click.Parameter, str], list[str]]

_MOST_JOBS: Final = 100


def _from_lab(words: Callable[[Lab, str], Iterable[str]]) -> Complete:
    """Make a completion of a function from the Lab and the beginning of a word to words."""

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
        del param
        try:
            found = words(ctx.ensure_object(Context).open_lab().lab, incomplete)
            return [word for word in found if word.startswith(incomplete) and word.isprintable()]
        except (RepxError, OSError):
            return []

    return complete


def _jobs(lab: Lab, incomplete: str) -> list[JobId]:
    """Return job ids, once enough is typed: a list of thousands helps nobody."""
    if not incomplete:
        return []
    found = [job for job in lab.jobs if job.startswith(incomplete)]
    if not found:
        found = [short for job in lab.jobs if (short := short_id(job)).startswith(incomplete)]
    return found if len(found) <= _MOST_JOBS else []


def _groups(lab: Lab) -> list[str]:
    return [f"@{group}" for group in lab.groups]


runs = _from_lab(lambda lab, _: lab.runs)
groups = _from_lab(lambda lab, _: _groups(lab))
stages = _from_lab(lambda lab, _: sorted({stage_of(job) for job in lab.jobs}))
one_job = _from_lab(lambda lab, word: [*lab.runs, *_jobs(lab, word)])
names = _from_lab(lambda lab, word: [*lab.runs, *_groups(lab), *_jobs(lab, word)])


def targets(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Return the names of target profiles."""
    del param
    try:
        known = ctx.ensure_object(Context).targets().profiles
    except (RepxError, OSError):
        return []
    return [name for name in known if name.startswith(incomplete)]
