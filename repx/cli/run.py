"""`repx run`: plan, write the submission, start it and watch it to its end."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import click

from repx import console, engine, follow, schedulers, seen
from repx.cli import fetching, given, remaking, report, watching
from repx.cli.choosing import (
    from_option,
    isolate_option,
    limit_options,
    scheduler_option,
    selection_options,
    trust_option,
)
from repx.cli.context import command
from repx.cli.forgotten import no_build_option
from repx.cli.progress import Tally, raise_for
from repx.cli.progress import watch as show

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from repx.cli.context import Context
    from repx.engine import Submission
    from repx.lab.load import OpenLab
    from repx.model import Lab
    from repx.places import Process
    from repx.plan import Plan, Wish
    from repx.schedulers.contract import Limits
    from repx.store import Store
    from repx.target import Target


@command(
    examples="""
    repx run                         everything that has not succeeded yet
    repx run training -j 4           one run, at most four jobs at once
    repx run @nightly --dry-run      what would run, and why
    repx run 3k9x2m --force          one job (a unique prefix of its id), again
    repx run --from cluster          bring what has succeeded there; run the rest
    """
)
@selection_options
@click.option("-n", "--dry-run", is_flag=True, help="Say what would run and why; start nothing.")
@limit_options
@scheduler_option
@isolate_option
@from_option
@click.option("--detach", is_flag=True, help="Start and leave; `repx status --follow` watches.")
@no_build_option
@trust_option
@click.option("--watch", is_flag=True, help="Batch system: stay attached and show progress.")
def run(
    context: Context,
    wish: Callable[[Lab], Wish],
    limits: Limits,
    dry_run: bool,
    no_build: bool,
    detach: bool,
    trust: bool,
    watch: bool,
) -> int:
    """Run what is not done yet.

    Names are runs, groups (@name), job ids or unique beginnings of one; none means every run.
    What they need is added. Jobs that have succeeded are kept.
    """
    opened = context.lab_to_run(as_it_is=no_build)
    context.verify(opened)
    target = context.target()
    store = context.store(target)
    scheduler = schedulers.of(target)
    if limits.words() and not scheduler.attended:
        console.warn("-j, --cpus, --mem and --keep-going are for the local scheduler")
    resources, explain = context.resources_of(opened.lab, target), context.explain(opened)
    supply = context.supply(opened.lab)

    def planned(wished: Wish) -> Plan:
        return engine.prepare(opened.lab, wished, store, target, resources, explain, supply.reasons)

    wished = wish(opened.lab)
    plan, wished = remaking.plan(opened.lab, store, wished, planned, starts=not dry_run)
    scheduler.check(plan)
    report.obsolete(context.obsolete(opened, store))
    given.hint(context, target, [task.job.id for task in plan.tasks])
    if dry_run:
        return _foretell(context, opened.lab, store, plan)
    plan = fetching.all_of(plan, supply, store, lambda: planned(wished))
    if plan.tasks:
        context.trust(opened, asked_for=trust)
        context.note_run()
    plan, started = _start(opened, store, target, limits, plan, lambda: planned(wished))
    if started is None:
        stays = not detach and (watch or scheduler.attended)
        report.nothing_to_do(plan, as_json=context.json, watches=stays)
        return _wait_for_others(opened.lab, store, plan) if stays else 0
    submission, agent = started
    given.note(context, target, (*plan.done, *(task.job.id for task in plan.tasks)))
    if agent is None:
        made = scheduler.submitted(seen.look(store, ()), submission.id)
        report.handed_over(submission, scheduler.name, made, as_json=context.json)
        jobs = {task.job.id for task in plan.tasks}.union(plan.alive)
        return watching.jobs(opened.lab, store, jobs) if watch else 0
    if detach:
        report.how_to_look(submission, as_json=context.json)
        return 0
    return _to_the_end(opened, store, submission, agent, as_json=context.json)


def _foretell(context: Context, lab: Lab, store: Store, plan: Plan) -> int:
    """Say what would run and why, and what these jobs would lack."""
    from repx.cli import reasons  # most runs need none

    reasons.planned(lab, plan, as_json=context.json)
    remaking.foretell(lab, store, plan)
    return 0


def _start(
    opened: OpenLab,
    store: Store,
    target: Target,
    limits: Limits,
    plan: Plan,
    planned: Callable[[], Plan],
) -> tuple[Plan, tuple[Submission, Process | None] | None]:
    """Submit and start a plan; one that another submission overtook is made anew.

    Returns the plan that counts, with nothing beside it where nothing is left to run.
    """
    while plan.tasks:
        submission = engine.submit(opened, plan, store, target)
        report.submitted(submission, target)
        try:
            return plan, (submission, engine.start(store, target, submission.id, limits))
        except engine.OutdatedPlanError as taken:
            console.note(f"{taken.message.removeprefix('error: ')}; planning again")
        plan = planned()
    return plan, None


def _to_the_end(
    opened: OpenLab, store: Store, submission: Submission, agent: Process, *, as_json: bool
) -> int:
    """Follow a submission; on Ctrl-C pass the wish to stop on to its scheduler."""
    tally = Tally(total=len(submission.plan.tasks))
    with _passing_interrupts_to(agent):
        show(follow.agent(store, submission.id, pid=agent.pid, sleep=agent.rest), tally)
    code = agent.poll()
    report.summary(opened.lab, store, submission, tally, as_json=as_json)
    raise_for(tally, store, submission.id, "" if code is None else f"exit code {code}")
    return _wait_for_others(opened.lab, store, submission.plan)


def _wait_for_others(lab: Lab, store: Store, plan: Plan) -> int:
    """Watch the jobs that were wanted too, but that others run already."""
    return watching.jobs(lab, store, plan.alive) if plan.alive else 0


_STOPPING: Final = (
    "stopping: running jobs are ended; Ctrl-C again kills them at once",
    "killing running jobs; Ctrl-C again leaves without waiting for that",
)


@contextmanager
def _passing_interrupts_to(agent: Process) -> Iterator[None]:
    """Send Ctrl-C on: the first stops in good order, the second at once. The third leaves.

    A connection that does not answer keeps the first two until it does.
    """
    notes = iter(_STOPPING)

    def pass_on(number: int, frame: object) -> None:
        del number, frame
        note = next(notes, None)
        if note is None:
            raise KeyboardInterrupt
        console.note(note)
        agent.interrupt()

    before = signal.signal(signal.SIGINT, pass_on)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
