"""`repx cancel`: stop jobs that are queued or running."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from repx import console, select, submissions
from repx.cli import complete
from repx.cli.context import command
from repx.errors import InputError
from repx.schedulers import queue

if TYPE_CHECKING:
    from repx.cli.context import Context
    from repx.errors import RepxError
    from repx.store import Store


@command(
    name="cancel",
    examples="""
    repx cancel training                  one run
    repx cancel 3k9x2m                    one job (a unique prefix of its id)
    repx cancel 20261122-194512-3fa91c    all of a submission, by its id
    repx cancel --all                     every job of this Lab
    repx cancel --everything              every job of the store, of whichever Lab
    """,
)
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=complete.names)
@click.option("--all", "whole_lab", is_flag=True, help="Every job of this Lab.")
@click.option("--everything", is_flag=True, help="Every job of the store, of whichever Lab.")
def cancel(context: Context, names: tuple[str, ...], whole_lab: bool, everything: bool) -> int:
    """Stop jobs that are queued or running; what has succeeded stays.

    Names are runs, groups (@name), job ids or unique beginnings of one, and submissions.
    """
    if (bool(names), whole_lab, everything).count(True) != 1:
        hint = "`repx cancel RUN`, `repx cancel --all` for this Lab, `--everything` for the store"
        raise InputError("name what to cancel", hint=hint)
    store = context.store()
    asked: dict[str, int] = {}
    errors: list[RepxError] = []
    for done in _cancelled(context, store, names, everything=everything):
        errors += done.errors
        for scheduler, count in done.asked.items():
            asked[scheduler] = asked.get(scheduler, 0) + count
    for scheduler, count in asked.items():
        console.note(f"asked {scheduler} to stop {console.counted(count, 'job')}")
    if not asked and not errors:
        console.note("Nothing to cancel: none of these jobs is queued or running.")
    if context.json:
        console.json({"cancelled": asked})
    if errors:
        raise errors[0]
    return 0


def _cancelled(
    context: Context, store: Store, names: tuple[str, ...], *, everything: bool
) -> list[queue.Cancelled]:
    """Cancel what is named, whole submissions first; without names this Lab, or everything."""
    if everything:
        return [queue.cancel(store, None)]
    known = set(submissions.ids(store)) if names else set()
    done = [queue.cancel(store, None, name) for name in names if name in known]
    words = [name for name in names if name not in known]
    if words or not names:
        jobs = frozenset(select.jobs(context.open_lab().lab, words))
        done.append(queue.cancel(store, jobs))
    return done
