"""Queued jobs of earlier Labs of a project that no current Lab of the project needs."""

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
    """Return the jobs that are queued or running for Labs with these ids and are not needed."""
    if not earlier:
        return []
    there = seen.look(store, (), queue.foreseen(store))
    if not submissions.ids(there):
        return []
    told = queue.reported(there)
    unwanted = [job for job, said in told.items() if said.state in ALIVE and job not in needed]
    planned = _planned(there, earlier) if unwanted else set()
    return [job for job in unwanted if job in planned]


def _planned(store: Store, labs: Collection[str]) -> set[JobId]:
    """Return the jobs of submissions that were made for Labs with these ids."""
    plans = (submissions.plan(store, name) for name in submissions.ids(store))
    return {
        task["job"] for plan in plans if plan.get("lab") in labs for task in plan.get("tasks", ())
    }
