"""Jobs as a pandas table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from repx.model import short_id
from repx.results.conditions import PARAMETER_PREFIX
from repx.results.loading import optional
from repx.results.values import flatten
from repx.status import State

if TYPE_CHECKING:
    from collections.abc import Iterable

    from repx.model import JobId
    from repx.results.job import Job
    from repx.results.jobs import Jobs
    from repx.results.marker import Marker

INDEX: Final = "job_id"


def of_jobs(jobs: Jobs) -> Any:  # noqa: ANN401  # pandas has no types here
    """Return status, timings and effective parameters, one row per job."""
    pandas = optional("pandas", "a table of jobs")
    markers = jobs.markers()
    stale = jobs.stale({job: ended.outcome for job, ended in markers.items()})
    table = of_rows(
        (job.id, _facts(job, markers.get(job.id), stale.get(job.id)), job.effective_params)
        for job in jobs
    )
    if len(table):
        for column in ("duration_s", "cpu_s", "start"):  # numeric, even if no job has a value
            table[column] = pandas.to_numeric(table[column])
        table["start"] = pandas.to_datetime(table["start"], unit="s", utc=True, errors="coerce")
    return table


def of_rows(rows: Iterable[tuple[str, Mapping[str, object], Mapping[str, object]]]) -> Any:  # noqa: ANN401
    """Return a table of ``(job id, facts, parameters)``, nested parameters joined by dots.

    A parameter with the name of a fact, the index, or another parameter gets the prefix
    ``param_``. Without rows, the table is empty.
    """
    pandas = optional("pandas", "a table of jobs")
    ids: list[str] = []
    records: list[dict[str, object]] = []
    for job, facts, params in rows:
        ids.append(job)
        records.append({**facts, **_columns(params, facts)})
    return pandas.DataFrame(records, index=pandas.Index(ids, name=INDEX))


def _columns(params: Mapping[str, object], facts: Mapping[str, object]) -> dict[str, object]:
    """Return the parameters under column names that differ from facts and from each other."""
    flat = list(flatten(params))
    names = {INDEX, *facts, *(name for name, _ in flat)}
    found: dict[str, object] = {}
    for name, value in flat:
        column = name
        if name == INDEX or name in facts or name in found:
            while column in names:
                column = PARAMETER_PREFIX + column
            names.add(column)
        found[column] = value
    return found


def _facts(job: Job, ended: Marker | None, culprit: JobId | None) -> dict[str, object]:
    """Return a job's facts; if it is stale, ``culprit`` is the upstream job that ran again."""
    status, reason = (ended.outcome, ended.reason) if ended else (State.PENDING, "")
    if culprit is not None:
        status, reason = State.STALE, f"{short_id(culprit)} ran again since"
    return {
        "name": job.name,
        "stage": job.stage,
        "run": ", ".join(job.runs),
        "status": str(status),
        "duration_s": ended.duration_s if ended else None,
        "cpu_s": ended.cpu_s if ended else None,
        "start": ended.start if ended else None,
        "reason": reason,
    }
