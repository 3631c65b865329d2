"""`repx status`: what is done, running, failed and why, from markers and schedulers alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from repx import console, observe, select
from repx import status as states_of
from repx.cli import complete, paste, phases, report
from repx.cli.context import command
from repx.errors import InputError
from repx.model import short_id, value_text
from repx.status import ALIVE, Agent, ByHand, State
from repx.store import FAIL

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from repx.cli.context import Context
    from repx.model import Job, JobId, Lab
    from repx.status import JobState
    from repx.store import Store

_TOLD: Final = (State.RUNNING, State.FAILED, State.LOST, State.STALE)
_TOLD_EACH: Final = 10


@command(
    name="status",
    examples="""
    repx status                      every run, and what runs or failed
    repx status training             one run, job by job, and why
    repx status --json | jq .counts  for machines
    repx status --follow             watch what a detached run is doing
    repx status --check              are all outputs still there?
    """,
)
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=complete.names)
@click.option(
    "-f",
    "--follow",
    is_flag=True,
    help="Watch running jobs until they end. With --json: print the states then.",
)
@click.option(
    "--check",
    is_flag=True,
    help="Check that the outputs of succeeded jobs are still there; exit code 1 if not.",
)
def status(context: Context, names: tuple[str, ...], follow: bool, check: bool) -> int:
    """Show what is done, what runs, what failed and why.

    Names are runs, groups (@name), job ids or unique beginnings of one; with names every job
    is listed, without only those that run or failed.
    """
    if follow and check:
        raise InputError("--follow and --check do not go together", hint="check when it has ended")
    opened = context.lab_to_look_at()
    store = context.store()
    lab = opened.lab
    chosen = select.jobs(lab, names)
    if follow:
        try:
            return _follow(lab, store, chosen, all_jobs=not names)
        finally:
            if context.json:
                console.json(_document(lab, chosen, observe.states(lab, store)))
    states = observe.states(lab, store)
    lacking, failed = _lacking(lab, store, states, chosen, check=check)
    code = 1 if check and lacking else 0
    if context.json:
        told = {"gone": lacking} if check or lacking else {}
        console.json(_document(lab, chosen, states) | told)
        return code
    if names:
        _jobs(lab, store, ((job, states[job]) for job in chosen))
    else:
        _runs(lab, states)
        _remarkable(lab, store, states)
    _gone(lacking, failed, names, check=check)
    console.note(report.states_line(states_of.counts(states[job].state for job in chosen)))
    return code


def _lacking(
    lab: Lab,
    store: Store,
    states: Mapping[JobId, JobState],
    chosen: Iterable[JobId],
    *,
    check: bool,
) -> tuple[dict[JobId, tuple[str, ...]], list[JobId]]:
    """Return jobs whose outputs are gone, and the jobs that failed since they need these.

    Of the jobs chosen, where ``check`` is set, and of those that failures name.
    """
    failed = {job: states[job].reason for job in chosen if states[job].state is State.FAILED}
    if not check and not failed:
        return {}, []
    from repx import gone

    if check:
        done = (lab.jobs[job] for job in chosen if states[job].state is State.SUCCEEDED)
        found = gone.outputs(store, done)
    else:
        found = {}
    makers = gone.makers(store, lab, failed)
    others = [lab.jobs[job] for job in {*makers.values()} - found.keys()]
    return found | gone.outputs(store, others, unchecked=True), list(makers)


def _gone(
    lacking: Mapping[JobId, tuple[str, ...]],
    failed: Sequence[JobId],
    names: Sequence[str],
    *,
    check: bool,
) -> None:
    """List jobs whose outputs are gone, and say how to make these again."""
    if not lacking:
        if check:
            console.note("every declared output is there")
        return
    console.out()
    shown = list(lacking)[:_TOLD_EACH]
    rows = [(job, ", ".join(lacking[job])) for job in shown]
    console.table(("job", "outputs that are gone"), rows)
    if len(lacking) > len(shown):
        console.note(f"and {len(lacking) - len(shown)} more; --json has them all")
    words = ("--remake", *map(report.prefix, failed[:_TOLD_EACH]))
    if check:
        words = ("--gone", *(() if failed else names))  # a maker need not be among the names
    again = f"`{paste.line('run', *words)}` makes them again"
    console.note(f"hint: {again}, and runs the jobs that depend on them")


def _runs(lab: Lab, states: Mapping[JobId, JobState]) -> None:
    rows = []
    for run in lab.runs.values():
        of_jobs = [states[job].state for job in run.jobs]
        done = sum(state is State.SUCCEEDED for state in of_jobs)
        rows.append((run.name, states_of.of_run(of_jobs), f"{done}/{len(of_jobs)}"))
    console.table(("run", "state", "done"), rows)


def _remarkable(lab: Lab, store: Store, states: Mapping[JobId, JobState]) -> None:
    """List what runs and what failed, a few of each, with the reason."""
    for state in _TOLD:
        found = [(job, said) for job, said in states.items() if said.state is state]
        if found:
            console.out()
            _jobs(lab, store, found[:_TOLD_EACH])
        if len(found) > _TOLD_EACH:
            console.note(f"and {len(found) - _TOLD_EACH} more {state}")


def _jobs(lab: Lab, store: Store, found: Iterable[tuple[JobId, JobState]]) -> None:
    rows = [
        (job, said.state, _why(said) + _cause(lab.jobs[job], store, said), _parameters(lab, job))
        for job, said in found
    ]
    console.table(("job", "state", "why", "parameters"), rows)


def _cause(job: Job, store: Store, said: JobState) -> str:
    """Return what was behind the failure of a scatter-gather job."""
    if said.state is not State.FAILED or not job.is_scatter_gather:
        return ""
    phase = phases.failed(store, job.id)
    cause = store.marker(f"{job.id}/{phase}", FAIL).get("reason") if phase else None
    return f": {cause}" if cause and cause != said.reason else ""


def _why(said: JobState) -> str:
    """Return the reason in words: the culprit, what is waited for, where it runs."""
    match said.state:
        case State.SKIPPED:
            return f"{short_id(said.reason)} failed" if said.reason else "what it waits for failed"
        case State.BLOCKED:
            return f"waits for {short_id(said.reason)}"
        case State.STALE:
            return f"{short_id(said.reason)} ran again since"
        case State.RUNNING | State.QUEUED:
            owner = "" if isinstance(said.by, ByHand | None) else str(said.by)
            return " ".join(part for part in (said.reason, said.where, owner) if part)
        case _:
            return said.reason


def _parameters(lab: Lab, job: JobId) -> str:
    parameters = report.parameters(lab, job)
    return " ".join(f"{name}={value_text(value)}" for name, value in parameters.items())


def _document(lab: Lab, jobs: Iterable[JobId], states: Mapping[JobId, JobState]) -> dict[str, Any]:
    told = {job: _told(states[job]) for job in jobs}
    return {
        "lab": lab.id,
        "counts": dict(states_of.counts(states[job].state for job in told)),
        "runs": {
            run.name: states_of.of_run(states[job].state for job in run.jobs)
            for run in lab.runs.values()
        },
        "jobs": told,
    }


def _told(said: JobState) -> dict[str, Any]:
    by = "" if said.by is None else str(said.by)
    facts = {"reason": said.reason, "by": by, "since": said.since, "where": said.where}
    return {"state": said.state, **{name: value for name, value in facts.items() if value}}


def _follow(lab: Lab, store: Store, jobs: Collection[JobId], *, all_jobs: bool) -> int:
    """Watch those of the jobs that are queued or running; return the exit code.

    Where they are all in the hands of one local scheduler, its events tell more, and sooner.
    """
    from repx.cli import watching

    states = observe.states(lab, store)
    alive = {job: states[job].by for job in jobs if states[job].state in ALIVE}
    if not alive:
        console.note("nothing is running here")
        return 0
    owners = set(alive.values())
    agents = [by.submission for by in owners if isinstance(by, Agent)]
    if all_jobs and len(owners) == len(agents) == 1:
        return watching.agent(store, agents[0])
    return watching.jobs(lab, store, alive)
