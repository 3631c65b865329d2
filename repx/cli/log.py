"""`repx log`: what a job printed, also while it runs, also what the scheduler said of it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import click

from repx import console, observe, select
from repx.cli import complete, origin, paste, phases
from repx.cli.context import command
from repx.errors import InputError
from repx.schedulers import queue
from repx.status import State

if TYPE_CHECKING:
    from collections.abc import Mapping

    from repx.cli.context import Context
    from repx.model import JobId, Lab
    from repx.store import Store

_LOOK_S: Final = 0.3
_SHOWN: Final = 10


@command(
    examples="""
        repx log 3k9x2m                      # the last 50 lines
        repx log 3k9x2m --stderr -n 200
        repx log 3k9x2m -f                   # follow it while the job runs
        repx log 3k9x2m --phase branch-2/step-fit
        """
)
@click.argument("name", metavar="JOB", shell_complete=complete.one_job)
@click.option(
    "-n", "--lines", type=click.IntRange(min=0), default=50, help="Number of lines.  [50]"
)
@click.option("-e", "--stderr", is_flag=True, help="Print stderr instead of stdout.")
@click.option("-f", "--follow", is_flag=True, help="Print more as it comes, until the job ends.")
@click.option(
    "-p",
    "--phase",
    metavar="PHASE",
    help="Of a scatter-gather job: scatter, gather or branch-N/step-NAME."
    "  [default: what failed, else gather]",
)
def log(
    context: Context, name: str, lines: int, stderr: bool, follow: bool, phase: str | None
) -> None:
    """Print the end of what JOB wrote to stdout, or to stderr.

    JOB is a job id, a unique beginning of one, or a run that ends in one job.
    """
    lab = context.open_lab().lab
    job = select.one_job(lab, name)
    store = context.store()
    record = _record(store, job, phase)
    key = f"{record}/{'stderr' if stderr else 'stdout'}.log"
    if context.json:
        text = store.tail_text(key, lines)
        console.json({"job": job, "log": store.path(key), "text": text})
        return
    inode, position, content = store.files.ending(key, lines)
    if not inode:
        content = _scheduler_said(store, job, lines)
    console.raw(content)
    if follow:
        _follow(store, key, (inode, position), f"outputs/{job}/repx/lock")
    elif not content:
        _explain_silence(lab, store, job, record, stderr=stderr)
    elif place := origin.line(content.decode(errors="replace")):
        console.note(f"at {place}")


def _record(store: Store, job: JobId, phase: str | None) -> str:
    """Return the key of the logs: of the phase named, else of what failed, else the job's."""
    there = phases.known(store, job)
    if phase not in (None, "main", "gather", *there):
        more = [f"... ({len(there)})"] if len(there) > _SHOWN else []
        listed = ", ".join([*there[:_SHOWN], *more, "gather"])
        hint = f"there are: {listed}" if there else None
        raise InputError(f"job {job} has no log of a phase '{phase}'", hint=hint)
    return phases.record(job, phase or phases.failed(store, job))


def _scheduler_said(store: Store, job: JobId, lines: int) -> bytes:
    """Return the end of the newest of what a scheduler said of a job without a log of its own."""
    path, text = queue.said(store, job)
    if not path:
        return b""
    console.note(f"the job has no log; this is what its scheduler said: {path}")
    return "".join(text.splitlines(keepends=True)[-lines:] if lines else []).encode()


def _follow(store: Store, key: str, begin: tuple[int, int], lock: str) -> None:
    """Print what is added to a file until the job has ended; a new attempt begins it anew."""
    inode, position = begin
    if not inode:
        console.note("waiting for the job to start; Ctrl-C stops waiting, not the job")
    while True:
        over, inode, start, content = store.grown(key, (inode, position), lock)
        console.raw(content)
        position = start + len(content)
        if over:
            return
        time.sleep(_LOOK_S)


def _explain_silence(lab: Lab, store: Store, job: JobId, record: str, *, stderr: bool) -> None:
    """Say why nothing was printed, and where something is."""
    other = f"{'stdout' if stderr else 'stderr'}.log"
    there = store.files.kinds([record, f"{record}/{other}"])
    _, size = there.get(f"{record}/{other}", ("", 0))
    if size:
        flag = "" if stderr else " --stderr"
        told = f"nothing here; `repx log {job[:12]}{flag}` shows {other}"
        console.note(paste.complete(told))
        return
    said = observe.states(lab, store)[job]  # also of one that could not start, or be marked
    if said.state in _ENDED:
        reason = f" ({said.reason})" if said.reason and said.state is State.FAILED else ""
        console.note(f"the job {_ENDED[said.state]}{reason} and printed nothing")
    elif record in there:
        console.note("the job has not ended and printed nothing")
    else:
        console.note("the job has not started yet")


_ENDED: Final[Mapping[State, str]] = {
    State.SUCCEEDED: "succeeded",
    State.STALE: "succeeded",
    State.FAILED: "failed",
    State.LOST: "was interrupted",
}
