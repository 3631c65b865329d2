"""`repx cancel`: stop jobs that are queued or running."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import click

from repx import console, engine, select, submissions
from repx.cli import complete
from repx.cli.context import command
from repx.errors import InputError, SchedulerError
from repx.schedulers import local
from repx.schedulers.slurm import calls as slurm
from repx.status import ALIVE

if TYPE_CHECKING:
    from typing import TypeAlias

    from repx.cli.context import Context
    from repx.model import JobId, Lab
    from repx.store import Store

    Asked: TypeAlias = dict[str, list[JobId] | None]  # jobs by submission; None means all


@command(
    name="cancel",
    examples="""
    repx cancel training                  one run
    repx cancel 3k9x2m                    one job (a unique prefix of its id)
    repx cancel 20261122-194512-3fa91c    all of a submission, by its id
    repx cancel --all                     everything that runs for this store
    """,
)
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=complete.names)
@click.option("--all", "everything", is_flag=True, help="All submissions to this store.")
def cancel(context: Context, names: tuple[str, ...], everything: bool) -> int:
    """Stop jobs that are queued or running; what has succeeded stays.

    Names are runs, groups (@name), job ids or unique beginnings of one, and submissions.
    """
    if bool(names) == everything:
        raise InputError("name what to cancel", hint="`repx cancel RUN`, or `repx cancel --all`")
    store = context.store()
    asked: Asked = dict.fromkeys(submissions.active(store))
    in_slurm: list[JobId] | None = None
    if not everything:
        asked, in_slurm = _meant(context, names, store)
    told, elsewhere = _tell_agents(store, asked)
    cancelled = slurm.cancel(store.place.run, store, in_slurm) if in_slurm != [] else 0
    if cancelled:
        console.note(f"cancelled {cancelled} Slurm jobs and array elements")
    if not asked and not cancelled:
        console.note("nothing of that is queued or running")
    if context.json:
        console.json({"submissions": told, "slurm": cancelled})
    if elsewhere:
        raise elsewhere[0]
    return 0


def _tell_agents(store: Store, asked: Asked) -> tuple[Asked, list[SchedulerError]]:
    """Ask the agents to stop; return what was asked and the errors of those out of reach."""
    told: Asked = {}
    errors = []
    for submission, jobs in asked.items():
        try:
            reached = local.cancel(store, submission, jobs)
        except SchedulerError as error:
            errors.append(error)
            continue
        if not reached:
            console.warn(f"submission {submission} has no running scheduler")
            continue
        told[submission] = jobs
        what = "all its jobs" if jobs is None else console.counted(len(jobs), "job")
        console.note(f"asked submission {submission} to stop {what}")
    return told, errors


def _meant(context: Context, names: tuple[str, ...], store: Store) -> tuple[Asked, list[JobId]]:
    """Return what to ask of which agent, and the jobs to cancel in Slurm."""
    known = set(submissions.ids(store))
    whole = [name for name in names if name in known]
    asked: Asked = {name: None for name in submissions.active(store) if name in whole}
    in_slurm = [
        task["job"] for name in whole for task in submissions.plan(store, name).get("tasks", ())
    ]
    words = [name for name in names if name not in known]
    if words:
        for by, jobs in _owners(context.open_lab().lab, words, store).items():
            if by not in known:
                in_slurm += jobs
            else:
                asked.setdefault(by, jobs)
    return asked, in_slurm


def _owners(lab: Lab, names: list[str], store: Store) -> dict[str, list[JobId]]:
    """Return the live jobs that are meant, by the submission that holds them."""
    states = engine.observe(lab, store)
    held: dict[str, list[JobId]] = defaultdict(list)
    for job in select.jobs(lab, names):
        if states[job].state in ALIVE:
            held[states[job].by].append(job)
    return held
