"""`repx cancel`: stop jobs that are queued or running."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from repx import console, select, submissions, unscheduled
from repx.cli import complete
from repx.cli.context import command
from repx.errors import InputError, RepxError
from repx.schedulers import queue

if TYPE_CHECKING:
    from repx.cli.context import Context
    from repx.model import JobId
    from repx.store import Store

NO_SCHEDULER: Final = "none"  # in the JSON: jobs by hand, or whose scheduler was killed


@command(
    name="cancel",
    examples="""
    repx cancel training                  one run
    repx cancel 3k9x2m                    one job (a unique prefix of its id)
    repx cancel 20261122-194512-3fa91c    all of a submission, by its id
    repx cancel --all                     every job of this Lab
    repx cancel --obsolete                jobs no Lab of the project needs now
    repx cancel --everything              every job of the store, of whichever Lab
    """,
)
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=complete.names)
@click.option("--all", "whole_lab", is_flag=True, help="Every job of this Lab.")
@click.option(
    "--obsolete", is_flag=True, help="Jobs of earlier Labs of this project that none needs now."
)
@click.option("--everything", is_flag=True, help="Every job of the store, of whichever Lab.")
def cancel(
    context: Context, names: tuple[str, ...], whole_lab: bool, obsolete: bool, everything: bool
) -> int:
    """Stop jobs that are queued or running; what has succeeded stays.

    Names are runs, groups (@name), job ids or unique beginnings of one, and submissions.
    """
    if (bool(names), whole_lab, obsolete, everything).count(True) != 1:
        hint = "`repx cancel RUN`, `repx cancel --all` for this Lab, `--everything` for the store"
        raise InputError("name what to cancel", hint=hint)
    store = context.store()
    asked: dict[str, int] = {}
    errors: list[RepxError] = []
    for done in _cancelled(context, store, names, obsolete=obsolete, everything=everything):
        errors += done.errors
        for scheduler, count in done.asked.items():
            asked[scheduler] = asked.get(scheduler, 0) + count
    for scheduler, count in asked.items():
        console.note(_told(scheduler, console.counted(count, "job")))
    if not asked and not errors:
        console.note("Nothing to cancel: none of these jobs is queued or running.")
    if context.json:
        console.json({"cancelled": asked})
    if errors:
        raise errors[0]
    return 0


def _cancelled(
    context: Context, store: Store, names: tuple[str, ...], *, obsolete: bool, everything: bool
) -> list[queue.Cancelled]:
    """Cancel what is named, whole submissions first; without names this Lab, or everything."""
    if obsolete:
        unwanted = frozenset(context.obsolete(context.open_lab(), store))
        return [queue.cancel(store, unwanted), _ended(store, unwanted)] if unwanted else []
    if everything:
        return [queue.cancel(store, None), _ended(store, None)]
    known = set(submissions.ids(store)) if names else set()
    done = [queue.cancel(store, None, name) for name in names if name in known]
    words = [name for name in names if name not in known]
    if words or not names:
        jobs = frozenset(select.jobs(context.open_lab().lab, words))
        done += [queue.cancel(store, jobs), _ended(store, jobs)]
    return done


def _told(scheduler: str, jobs: str) -> str:
    if scheduler == NO_SCHEDULER:
        return f"ended {jobs} that ran without a scheduler"
    return f"asked {scheduler} to stop {jobs}"


def _ended(store: Store, jobs: frozenset[JobId] | None) -> queue.Cancelled:
    """End what runs without a scheduler."""
    try:
        count = unscheduled.end(store, jobs)
    except RepxError as error:
        return queue.Cancelled(asked={}, errors=(error,))
    return queue.Cancelled(asked={NO_SCHEDULER: count} if count else {}, errors=())
