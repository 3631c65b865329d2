"""`--where NAME=VALUE`: only jobs with this parameter, their own or one of a job before them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from repx import console
from repx.errors import InputError, did_you_mean
from repx.model import value_text

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from repx.model import JobId, Lab

_SHOWN: Final = 8
# Values as Python writes them, beside those of JSON.
_PYTHON: Final[Mapping[str, object]] = {"True": True, "False": False, "None": None}


def chosen(lab: Lab, jobs: Sequence[JobId], conditions: Iterable[str]) -> tuple[JobId, ...]:
    """Return the jobs that meet every ``NAME=VALUE``.

    Raises InputError for a condition that is none, and for a parameter that no job has.
    """
    wanted = list(conditions)
    if not wanted:
        return tuple(jobs)
    from repx.results import effective, values

    params = effective.of_jobs(lab, jobs)
    known = dict.fromkeys(name for job in jobs for name, _ in values.flatten(params[job]))
    kept = tuple(jobs)
    for condition in wanted:
        name, text = _parsed(condition, known)
        found = {job: values.found(params[job], name) for job in jobs}
        if not any(found.values()):
            hint = did_you_mean(name, known) or f"there are: {', '.join(sorted(known)) or 'none'}"
            raise InputError(f"none of these jobs has the parameter '{name}'", hint=hint)
        meant = values.key(_value(text))
        met = {
            job
            for job, has in found.items()
            if any(value_text(value) == text or values.key(value) == meant for value in has)
        }
        if not met:
            there = dict.fromkeys(value_text(value) for has in found.values() for value in has)
            console.warn(f"no job has {name}={text}; there are: {_listed(list(there))}")
        kept = tuple(job for job in kept if job in met)
    return kept


def _parsed(condition: str, known: Collection[str]) -> tuple[str, str]:
    """Return name and value; a known name may hold ``=``."""
    if "=" not in condition or condition.startswith("="):
        raise InputError(f"--where {condition}: not NAME=VALUE", hint="e.g. --where lr=0.1")
    names = [name for name in known if condition.startswith(f"{name}=")]
    name = max(names, key=len, default=condition.partition("=")[0])
    return name, condition[len(name) + 1 :]


def _value(text: str) -> object:
    """Return what a value means: ``1e-1`` is the number 0.1; else the text itself."""
    try:
        return _PYTHON[text] if text in _PYTHON else json.loads(text)
    except (ValueError, RecursionError):
        return text


def _listed(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - _SHOWN} more" if len(texts) > _SHOWN else ""
    return f"{', '.join(texts[:_SHOWN])}{more}"
