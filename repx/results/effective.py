"""The parameters behind a job's results: its own and those of all its upstream jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from repx import graph
from repx.lab.jobs import parameters

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from repx.model import JobId, Lab

    Params = Mapping[str, object]


def effective(
    params: Mapping[JobId, Params], upstream: Callable[[JobId], Iterable[JobId]]
) -> dict[JobId, dict[str, object]]:
    """Return every job's effective parameters.

    A job's parameters are those of its upstream jobs, merged in the given order, then its own:
    later values win. An unknown upstream job, or one that closes a cycle, adds nothing.
    """
    found: dict[JobId, dict[str, object]] = {}
    opened: set[JobId] = set()
    for first in params:
        stack = [first]
        while stack:
            job = stack[-1]
            if job in opened:
                stack.pop()
                if job not in found:
                    found[job] = _merged(job, params, upstream(job), found)
                continue
            opened.add(job)
            stack.extend(need for need in upstream(job) if need in params and need not in opened)
    return found


def of_jobs(lab: Lab, jobs: Iterable[JobId]) -> dict[JobId, dict[str, object]]:
    """Return the effective parameters of the jobs and of their upstream jobs."""
    reached = graph.closure(lab.needs, jobs)
    return effective({job: parameters(lab.jobs, job) for job in reached}, lab.needs.__getitem__)


def _merged(
    job: JobId,
    params: Mapping[JobId, Params],
    upstream: Iterable[JobId],
    found: Mapping[JobId, Params],
) -> dict[str, object]:
    merged: dict[str, object] = {}
    for need in upstream:
        merged.update(found.get(need, {}))
    merged.update(params[job])
    return merged
