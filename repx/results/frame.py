"""Jobs as a pandas table."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, Final

from repx.results.conditions import PARAMETER_PREFIX
from repx.results.loading import optional

if TYPE_CHECKING:
    from collections.abc import Iterable

    from repx.results.job import Job

INDEX: Final = "job_id"


def of_jobs(jobs: Iterable[Job]) -> Any:  # noqa: ANN401  # pandas has no types here
    """Return status, timings and effective parameters, one row per job."""
    return of_rows((job.id, _facts(job), job.effective_params) for job in jobs)


def of_rows(rows: Iterable[tuple[str, Mapping[str, object], Mapping[str, object]]]) -> Any:  # noqa: ANN401
    """Return a table of ``(job id, facts, parameters)``, nested parameters joined by dots.

    A parameter that would hide a fact, or the index, gets ``param_`` in front. No rows:
    an empty table.
    """
    pandas = optional("pandas", "a table of jobs")
    ids: list[str] = []
    records: list[dict[str, object]] = []
    for job, facts, params in rows:
        ids.append(job)
        record = dict(facts)
        taken = {INDEX, *facts}
        flat = flatten(params)
        for name, value in flat.items():
            record[_column(name, taken, flat)] = value
        records.append(record)
    return pandas.DataFrame(records, index=pandas.Index(ids, name=INDEX))


def flatten(params: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """Return nested mappings as one, keys joined by dots."""
    flat: dict[str, object] = {}
    for key, value in params.items():
        if isinstance(value, Mapping) and value:
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _column(name: str, taken: Collection[str], params: Mapping[str, object]) -> str:
    if name not in taken:
        return name
    column = PARAMETER_PREFIX + name
    while column in params:
        column = PARAMETER_PREFIX + column
    return column


def _facts(job: Job) -> dict[str, object]:
    ended = job.marker
    return {
        "name": job.name,
        "stage": job.stage,
        "run": ", ".join(job.runs),
        "status": str(ended.outcome if ended else "pending"),
        "duration_s": ended.duration_s if ended else None,
        "cpu_s": ended.cpu_s if ended else None,
        "start": ended.start if ended else None,
        "reason": ended.reason if ended else "",
    }
