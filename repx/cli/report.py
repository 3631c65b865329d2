"""What run, render and status tell: plans, submissions and how they ended."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from repx import console, graph
from repx.cli import paste, phases
from repx.model import short_id, value_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from repx.brought import Brought, Source
    from repx.cli.progress import Tally
    from repx.engine import Submission
    from repx.model import JobId, Lab
    from repx.plan import Plan
    from repx.schedulers.contract import Submitted
    from repx.status import State
    from repx.store import Store
    from repx.target import Target

_FAILURES_SHOWN: Final = 5
_IDS_SHOWN: Final = 5
_NAMED: Final = 3
_LINES_SHOWN: Final = 5
_LINES_READ: Final = 100  # a traceback is long, and the user's own line stands in its midst
_LINE_SHOWN: Final = 500  # characters, the last ones
_VALUE_SHOWN: Final = 80


def owners(plan: Plan) -> dict[JobId, str]:
    """Return who answers for the jobs that are alive already, as ``--json`` has it."""
    return {job: "" if by is None else str(by) for job, by in plan.alive.items()}


def nothing_to_do(plan: Plan, *, as_json: bool, watches: bool = False) -> None:
    """Say why nothing runs; whoever ``watches`` what runs already needs no hint."""
    if as_json:
        console.json({"submission": None, "done": len(plan.done), "alive": owners(plan)})
    elif plan.alive:
        others = ", ".join(sorted(set(owners(plan).values())))
        console.note(
            f"{console.counted(len(plan.alive), 'job')} queued or running already ({others})"
            + ("; watching" if watches else "")
        )
        if not watches:
            console.note(paste.complete("hint: `repx status --follow` watches them"))
    elif plan.done:
        console.note(
            f"nothing to do: {console.counted(len(plan.done), 'job')} succeeded already "
            "(--force runs again)"
        )
    else:
        console.note("nothing to do: no jobs match")


def obsolete(jobs: Sequence[JobId]) -> None:
    """Name what is in the queue for nobody."""
    if jobs:
        names = ", ".join(map(short_id, jobs[:_NAMED]))
        more = f" and {len(jobs) - _NAMED} more" if len(jobs) > _NAMED else ""
        console.warn(
            f"{console.counted(len(jobs), 'job')} of earlier Labs of this project still queued or "
            f"running, which no Lab of it needs now: {names}{more}"
        )
        console.note(paste.complete("hint: `repx cancel --obsolete` stops them"))


def fetched(came: Iterable[tuple[Source, Brought]]) -> None:
    """Say what was brought instead of being computed, and what could not be."""
    for source, brought in came:
        jobs = console.counted(len(brought.jobs), "job")
        console.note(f"fetched {jobs} from {source.name}, {console.size(brought.size_bytes)}")
        for why, count in Counter(brought.broken.values()).items():
            jobs = console.counted(count, "job")
            console.warn(f"{source.name}: {jobs} not brought: {why}; they run here")
        if brought.left:
            jobs = console.counted(len(brought.left), "job")
            console.warn(f"{brought.problem}; {jobs} not brought: they run here")


def submitted(submission: Submission, target: Target) -> None:
    """Say what was written where, before anything runs."""
    kept = f", {len(submission.plan.done)} done already" if submission.plan.done else ""
    console.note(
        f"{console.counted(len(submission.plan.tasks), 'job')} on '{target.name}' "
        f"({target.scheduler}){kept}; "
        f"submission {submission.id}"
    )
    if submission.sent.size_bytes:
        console.note(
            f"sent {console.counted(submission.sent.files, 'file')}, "
            f"{console.size(submission.sent.size_bytes)}"
        )


def handed_over(submission: Submission, scheduler: str, made: Submitted, *, as_json: bool) -> None:
    """Say what a batch system has now, and how to look."""
    if as_json:
        document = {"submission": submission.id, "folder": submission.folder}
        console.json({**document, scheduler: list(made.ids), "continued_by": made.continued_by})
        return
    console.out(submission.id)
    few = made.ids[:_IDS_SHOWN]
    more = f" ... {made.ids[-1]}" if len(made.ids) > _IDS_SHOWN else ""
    calls = console.counted(len(made.ids), made.calls)
    console.note(f"submitted in {calls}: {scheduler} {' '.join(few)}{more}")
    if made.continued_by:
        console.note(
            f"{scheduler} takes no more of your jobs for now; "
            f"its job {made.continued_by} submits the rest"
        )
    told = "`repx status` tells how it goes, `repx cancel NAME` stops it; nothing runs here"
    console.note(paste.complete(told))


def how_to_look(submission: Submission, *, as_json: bool) -> None:
    """Say how to come back to a submission that was left alone."""
    if as_json:
        console.json({"submission": submission.id, "folder": submission.folder})
        return
    console.out(submission.id)
    told = "started; `repx status --follow` watches, `repx cancel NAME` stops it"
    console.note(paste.complete(told))


def summary(lab: Lab, store: Store, submission: Submission, tally: Tally, *, as_json: bool) -> None:
    """Say how the submission ended; for each failed job what is needed to find out why."""
    if as_json:
        console.json(
            {
                "submission": submission.id,
                "succeeded": tally.ok,
                "failed": tally.failed,
                "skipped": tally.skipped,
                "outputs": store.path("outputs"),
            }
        )
        return
    failed = {job: reason for job, reason in tally.failed.items() if reason != "cancelled"}
    failures(lab, store, failed)
    console.note(f"\n{tally.line()}; outputs are in {store.path('outputs')}")


def failures(
    lab: Lab,
    store: Store,
    failed: Mapping[JobId, str],
    *,
    logs: Callable[[JobId], Iterable[str]] = lambda _: (),
) -> None:
    """Tell of failed jobs, a few at most; ``logs`` are what their scheduler wrote of them."""
    if not failed:
        return
    from repx import gone  # mostly all goes well

    shown = dict(list(failed.items())[:_FAILURES_SHOWN])
    makers = gone.makers(store, lab, shown)
    for job, reason in shown.items():
        failure(lab, job, store, reason)
        if job in makers:
            again = paste.line("run", "--remake", prefix(job))
            console.note(f"  again: {again}  # {short_id(makers[job])} made the input that is gone")
        for path in logs(job):
            console.note(f"  scheduler: {path}")
    if len(failed) > _FAILURES_SHOWN:
        more = len(failed) - _FAILURES_SHOWN
        console.note(paste.complete(f"\nand {more} more failed jobs: `repx status` lists them"))


def failure(lab: Lab, job: JobId, store: Store, reason: str) -> None:
    """Tell of one failed job: parameters, reason, last words, log, and how to debug it."""
    from repx.cli import origin

    log = f"{phases.record(job, phases.failed(store, job))}/stderr.log"
    console.note(f"\nFAILED {console.plain(short_id(job))}: {reason}")
    words = [f"{name}={_brief(value)}" for name, value in parameters(lab, job).items()]
    if words:
        console.note(f"  parameters: {', '.join(words)}")
    text = store.tail_text(log, _LINES_READ)
    last_words = text.splitlines()[-_LINES_SHOWN:]
    for line in last_words:
        console.note(f"  | {line[-_LINE_SHOWN:]}")
    if place := origin.line(text):
        console.note(f"  at:    {place}")
    console.note(f"  log:   {store.path(log)}")
    silent = reason.startswith("exit ") and not last_words
    trace = ("-c", "bash -x ../run") if silent else ()
    remark = "  # shows each line of bash" if silent else ""
    console.note(f"  debug: {paste.line('debug-run', prefix(job), *trace)}{remark}")


def parameters(lab: Lab, job: JobId) -> dict[str, object]:
    """Return what tells a job from others of its stage: its parameters and those before it.

    One that has several values before the job is left out: it does not tell.
    """
    before: dict[str, list[object]] = {}
    for name in graph.closure(lab.needs, [job]) - {job}:
        for key, value in lab.jobs[name].shown.items():
            before.setdefault(key, []).append(value)
    agreed = {
        key: values[0]
        for key, values in before.items()
        if all(value == values[0] for value in values)
    }
    return dict(sorted({**agreed, **lab.jobs[job].shown}.items()))


def _brief(value: object) -> str:
    text = console.plain(value_text(value))
    return text if len(text) <= _VALUE_SHOWN else f"{text[:_VALUE_SHOWN]}…"


def prefix(job: JobId) -> str:
    """Return the hash of an id where it has one: enough to name the job."""
    return job.partition("-")[0] or job


def states_line(states: dict[State, int]) -> str:
    """Return counts by state in words, zeros left out."""
    return ", ".join(f"{count} {state}" for state, count in states.items() if count) or "no jobs"
