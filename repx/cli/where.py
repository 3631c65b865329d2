"""`--where NAME=VALUE`: only jobs with this parameter, their own or one of a job before them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from repx.errors import InputError, did_you_mean
from repx.model import value_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from repx.model import JobId, Lab


def chosen(lab: Lab, jobs: Sequence[JobId], conditions: Iterable[str]) -> tuple[JobId, ...]:
    """Return the jobs that meet every ``NAME=VALUE``.

    Raises InputError for a condition that is none, and for a parameter that no job has.
    """
    wanted = [_parsed(text) for text in conditions]
    if not wanted:
        return tuple(jobs)
    from repx.results import effective, values

    found = effective.of_jobs(lab, jobs)
    params = {job: found[job] for job in jobs}
    known = {name for each in params.values() for name, _ in values.flatten(each)}
    for name, _ in wanted:
        if not any(values.found(each, name) for each in params.values()):
            hint = did_you_mean(name, known) or f"there are: {', '.join(sorted(known)) or 'none'}"
            raise InputError(f"none of these jobs has the parameter '{name}'", hint=hint)

    def holds(job: JobId, name: str, text: str) -> bool:
        meant = values.key(_value(text))
        found = values.found(params[job], name)
        return any(value_text(value) == text or values.key(value) == meant for value in found)

    return tuple(job for job in jobs if all(holds(job, name, text) for name, text in wanted))


def _parsed(condition: str) -> tuple[str, str]:
    name, equals, text = condition.partition("=")
    if not name or not equals:
        raise InputError(f"--where {condition}: not NAME=VALUE", hint="e.g. --where lr=0.1")
    return name, text


def _value(text: str) -> object:
    """Return what a value means as JSON: ``1e-1`` is the number 0.1; else the text itself."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
