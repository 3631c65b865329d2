"""`repx cancel`: stop jobs that are queued or running."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import click

from repx import console, engine, select, storage, submissions
from repx.cli import complete
from repx.cli.context import command
from repx.command import run
from repx.errors import InputError, SchedulerError
from repx.schedulers import local, slurm
from repx.status import ALIVE

if TYPE_CHECKING:
    from repx.cli.context import Context
    from repx.model import JobId, Lab
    from repx.storage import Store


@command(
    name="cancel",
    examples="""
    repx cancel training          one run
    repx cancel 3k9x2m            one job (a unique prefix of its id)
    repx cancel --all             everything that runs for this store
    """,
)
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=complete.names)
@click.option("--all", "everything", is_flag=True, help="All submissions to this store.")
def cancel(context: Context, names: tuple[str, ...], everything: bool) -> int:
    """Stop jobs that are queued or running; what has succeeded stays.

    Names are runs, groups (@name), job ids or unique beginnings of one.
    """
    if bool(names) == everything:
        raise InputError("name what to cancel", hint="`repx cancel RUN`, or `repx cancel --all`")
    store = storage.of(context.target())
    if everything:
        asked: dict[str, list[JobId] | None] = dict.fromkeys(submissions.active(store))
        in_slurm: list[JobId] | None = None
    else:
        held = _owners(context.open_lab().lab, names, store)
        own = set(submissions.ids(store))
        asked = {by: jobs for by, jobs in held.items() if by in own}
        in_slurm = [job for by, jobs in held.items() if by not in own for job in jobs]
    for submission, jobs in asked.items():
        try:
            local.cancel(store, submission, jobs)
        except SchedulerError as gone:
            console.warn(gone.message)
            continue
        what = "all its jobs" if jobs is None else f"{len(jobs)} jobs"
        console.note(f"asked submission {submission} to stop {what}")
    cancelled = slurm.cancel(run, store, in_slurm) if in_slurm != [] else 0
    if cancelled:
        console.note(f"cancelled {cancelled} Slurm jobs and array elements")
    if not asked and not cancelled:
        console.note("nothing of that is queued or running")
    return 0


def _owners(lab: Lab, names: tuple[str, ...], store: Store) -> dict[str, list[JobId]]:
    """Return the live jobs that are meant, by the submission that holds them."""
    states = engine.observe(lab, store)
    held: dict[str, list[JobId]] = defaultdict(list)
    for job in select.jobs(lab, names).jobs:
        if states[job].state in ALIVE:
            held[states[job].by].append(job)
    return held
