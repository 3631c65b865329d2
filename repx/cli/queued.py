"""A run whose scheduler keeps the jobs itself (Slurm): say what was submitted, or watch it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from repx import console, engine, status
from repx.cli import report
from repx.cli.progress import STOPPED_WATCHING
from repx.errors import JobsFailedError
from repx.model import short_id
from repx.schedulers.slurm import calls as slurm
from repx.status import ALIVE, State

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from repx.engine import Submission
    from repx.model import JobId, Lab
    from repx.status import JobState
    from repx.store import Store

_LOOK_FIRST_S: Final = 1.0
_LOOK_LAST_S: Final = 60.0
_FAILED: Final = (State.FAILED, State.LOST)
_TOLD_AT_MOST: Final = 5


def start(store: Store, submission: Submission, *, as_json: bool) -> None:
    """Submit, and say what was submitted and how to look. Raises SchedulerError."""
    submitted = slurm.submit(store.place.run, store, submission.id)
    ids = sorted(submitted.ids.values(), key=int)
    if as_json:
        console.json(
            {
                "submission": submission.id,
                "folder": submission.folder,
                "slurm": ids,
                "continued_by": submitted.continued_by,
            }
        )
        return
    console.out(submission.id)
    listed = " ".join(ids[:_TOLD_AT_MOST]) + (f" ... {ids[-1]}" if ids[_TOLD_AT_MOST:] else "")
    console.note(f"submitted in {console.counted(len(ids), 'call')} of sbatch: Slurm {listed}")
    if submitted.continued_by:
        console.note(
            "Slurm takes no more of your jobs for now; "
            f"Slurm job {submitted.continued_by} submits the rest"
        )
    console.note("`repx status` tells how it goes, `repx cancel NAME` stops it; nothing runs here")


def watch(
    lab: Lab,
    store: Store,
    jobs: Collection[JobId],
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Say how jobs go until none is queued or running; return the exit code.

    Looks after a second, then ever more rarely up to once a minute, and sooner again whenever
    something changed. Raises JobsFailedError when some did not succeed. Ctrl-C stops watching only.
    """
    before: Mapping[JobId, State] = {}
    pause_s = _LOOK_FIRST_S
    try:
        while True:
            said = engine.observe(lab, store)
            now = {job: said[job].state for job in jobs}
            if now != before:
                _tell_news(before, now, said)
                pause_s = _LOOK_FIRST_S
            if not any(state in ALIVE for state in now.values()):
                break
            sleep(pause_s)
            pause_s = min(2 * pause_s, _LOOK_LAST_S)
            before = now
    except KeyboardInterrupt:
        console.note(STOPPED_WATCHING)
        return 130
    return _ended(lab, store, {job: said[job] for job in jobs})


def _tell_news(
    before: Mapping[JobId, State], now: Mapping[JobId, State], said: Mapping[JobId, JobState]
) -> None:
    fresh = [job for job, state in now.items() if state in _FAILED and before.get(job) != state]
    for job in fresh[:_TOLD_AT_MOST]:
        console.note(f"{console.plain(short_id(job))}: {said[job].reason or now[job]}")
    console.note(report.states_line(status.counts(now.values())))


def _ended(lab: Lab, store: Store, states: Mapping[JobId, JobState]) -> int:
    failed = [job for job, said in states.items() if said.state in _FAILED]
    for job in failed[:_TOLD_AT_MOST]:
        report.failure(lab, job, store, states[job].reason)
        for path in slurm.logs(store, job):
            console.note(f"  slurm: {path}")
    undone = [job for job, said in states.items() if said.state is not State.SUCCEEDED]
    console.note(f"\noutputs are in {store.path('outputs')}")
    if undone:
        raise JobsFailedError(
            f"{len(undone)} of {len(states)} jobs did not succeed",
            hint="`repx status` tells why; `repx run` continues with what is not done",
        )
    return 0
