"""To stay until jobs have ended: what is shown meanwhile, and how it is told at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from repx import console, observe, submissions
from repx.cli import paste, report

if TYPE_CHECKING:
    from collections.abc import Collection

    from repx.model import JobId, Lab
    from repx.store import Store

_STOPPED: Final = "stopped watching; the jobs go on (`repx cancel NAME` stops them)"


def agent(store: Store, submission: str) -> int:
    """Watch a submission of a local scheduler to its end; return the exit code."""
    from repx import follow  # what only looks once needs neither
    from repx.cli.progress import Tally, raise_for, watch

    total = len(submissions.plan(store, submission).get("tasks", ()))
    news = follow.agent(store, submission)
    try:
        console.note(f"submission {submission}; Ctrl-C stops watching, not the jobs")
        tally = watch(news, Tally(total=total))
    except KeyboardInterrupt:
        console.note(paste.complete(_STOPPED))
        return 130
    console.note(tally.line())
    raise_for(tally, store, submission)
    return 0


def jobs(lab: Lab, store: Store, wanted: Collection[JobId]) -> int:
    """Watch jobs of any scheduler until none is alive; return the exit code.

    Raises JobsFailedError when some did not succeed. Ctrl-C stops watching only.
    """
    from repx import follow
    from repx.cli.progress import Tally, raise_for, watch
    from repx.schedulers import queue

    tally = Tally(total=len(wanted))
    try:
        watch(follow.looks(lambda: observe.states(lab, store), wanted), tally)
    except KeyboardInterrupt:
        console.note(paste.complete(_STOPPED))
        return 130
    tally.over = True
    report.failures(lab, store, tally.failed, logs=lambda job: queue.logs(store, job))
    console.note(f"\n{tally.line()}; outputs are in {store.path('outputs')}")
    raise_for(tally, store)
    return 0
