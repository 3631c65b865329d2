"""Jobs in the queue of Labs that a project had before, and that no Lab of it needs any more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from repx import seen, submissions
from repx.schedulers import queue
from repx.status import ALIVE

if TYPE_CHECKING:
    from collections.abc import Collection

    from repx.model import JobId
    from repx.store import Store


def jobs(store: Store, earlier: Collection[str], needed: Collection[JobId]) -> list[JobId]:
    """Return the jobs that are queued or running for Labs with these ids, and not needed."""
    if not earlier or not submissions.ids(store):
        return []
    there = seen.look(store, ())
    planned = {
        task["job"]: None
        for name in submissions.ids(there)
        if (plan := submissions.plan(there, name)).get("lab") in earlier
        for task in plan.get("tasks", ())
    }
    unwanted = [job for job in planned if job not in needed]
    if not unwanted:
        return []
    told = queue.reported(there)
    return [job for job in unwanted if job in told and told[job].state in ALIVE]
