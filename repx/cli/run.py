"""`repx run`: plan, write the submission, start it and watch it to its end."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from repx import console, engine
from repx.cli import queued, report
from repx.cli.choosing import limit_options, selection_options, trust_option
from repx.cli.context import command
from repx.cli.progress import Tally, raise_for, watch
from repx.schedulers import local
from repx.target import SchedulerName

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from repx.cli.context import Context
    from repx.engine import Submission
    from repx.lab.load import OpenLab
    from repx.model import Lab
    from repx.places import Process
    from repx.plan import Plan, Wish
    from repx.schedulers.local import Limits
    from repx.store import Store


@command(
    examples="""
    repx run                         everything that has not succeeded yet
    repx run training -j 4           one run, at most four jobs at once
    repx run @nightly --dry-run      what would run, and why
    repx run 3k9x2m --force          one job (a unique prefix of its id), again
    """
)
@selection_options
@click.option("-n", "--dry-run", is_flag=True, help="Say what would run and why; start nothing.")
@limit_options
@click.option("--detach", is_flag=True, help="Start and leave; `repx status --follow` watches.")
@trust_option
@click.option("--watch", "follow", is_flag=True, help="Slurm: stay and tell how the jobs go.")
def run(
    context: Context,
    wish: Callable[[Lab], Wish],
    limits: Limits,
    dry_run: bool,
    detach: bool,
    trust: bool,
    follow: bool,
) -> int:
    """Run what is not done yet.

    Names are runs, groups (@name), job ids or unique beginnings of one; none means every run.
    What they need is added. Jobs that have succeeded are kept.
    """
    opened = context.open_lab()
    context.verify(opened)
    target = context.target()
    store = context.store(target)
    plan = engine.prepare(
        opened.lab, wish(opened.lab), store, target, context.resources_of(opened.lab, target)
    )
    if dry_run:
        report.planned(plan, as_json=context.json)
        return 0
    if not plan.tasks:
        report.nothing_to_do(plan, as_json=context.json)
        stays = not detach and (follow or target.scheduler is SchedulerName.LOCAL)
        return _wait_for_others(opened.lab, store, plan) if stays else 0
    context.trust(opened, asked_for=trust)
    submission = engine.submit(opened, plan, store, target)
    if target.scheduler is SchedulerName.SLURM:
        if limits.argv():
            console.warn("-j, --cpus, --mem and --keep-going are for the local scheduler")
        report.submitted(submission, target)
        queued.start(store, submission, as_json=context.json)
        jobs = {task.job.id for task in plan.tasks}.union(plan.alive)
        return queued.watch(opened.lab, store, jobs) if follow else 0
    agent = local.launch(store, submission.id, limits)
    report.submitted(submission, target)
    if detach:
        report.how_to_look(submission, as_json=context.json)
        return 0
    return _to_the_end(opened, store, submission, agent, as_json=context.json)


def _to_the_end(
    opened: OpenLab, store: Store, submission: Submission, agent: Process, *, as_json: bool
) -> int:
    """Follow a submission; on Ctrl-C pass the wish to stop on to its scheduler."""
    tally = Tally(total=len(submission.plan.tasks))
    with _passing_interrupts_to(agent):
        news = local.follow(
            store, submission.id, ended=lambda: agent.poll() is not None, sleep=agent.rest
        )
        watch(news, tally)
    code = agent.poll()
    report.summary(opened.lab, store, submission, tally, as_json=as_json)
    raise_for(tally, store, submission.id, f"exit code {code}")
    return _wait_for_others(opened.lab, store, submission.plan)


def _wait_for_others(lab: Lab, store: Store, plan: Plan) -> int:
    """Watch the jobs that were wanted too, but that others run already."""
    return queued.watch(lab, store, plan.alive) if plan.alive else 0


@contextmanager
def _passing_interrupts_to(agent: Process) -> Iterator[None]:
    """Send each Ctrl-C on: the first stops in good order, the second at once."""

    def pass_on(number: int, frame: object) -> None:
        del number, frame
        console.note("stopping: running jobs are ended; Ctrl-C again kills them at once")
        agent.interrupt()

    before = signal.signal(signal.SIGINT, pass_on)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
