"""From a user's words to the jobs that the user means."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Final

from repx import graph
from repx.errors import InputError, did_you_mean
from repx.model import short_id, stage_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from repx.model import JobId, Lab, RunName

_SHOWN: Final = 5


def jobs(lab: Lab, words: Iterable[str], stages: Collection[str] = ()) -> tuple[JobId, ...]:
    """Return the jobs of named runs, ``@groups``, job ids and id prefixes; all jobs without names.

    Each job once, in Lab order, without upstream jobs. ``stages`` keeps only jobs of these stages.
    Raises InputError for a word that names nothing or several jobs.
    """
    named = tuple(words)
    runs: set[RunName] = set()
    single: set[JobId] = set()
    for word in named:
        found = _runs(lab, word)
        if found is None:
            single.add(_job(lab, word))
        else:
            runs.update(found)
    if not named:
        runs.update(lab.runs)
    meant = single.union(*(lab.runs[run].jobs for run in runs))
    if stages:
        meant = _of_stages(lab, meant, stages)
    return tuple(job for job in lab.jobs if job in meant)


def one_job(lab: Lab, word: str) -> JobId:
    """Return the single job that a word names: a run's only final job, an id, or a unique prefix.

    Raises InputError for a word that names nothing or several jobs.
    """
    if word not in lab.runs:
        return _job(lab, word)
    members = lab.runs[word].jobs
    finals = graph.finals(lab.needs, members)
    if len(finals) == 1:
        return finals[0]
    raise InputError(
        f"run '{word}' ends in {len(finals)} jobs, one is needed{_listed(finals)}",
        hint=f"name a job; `repx list jobs {word}` shows them" if finals else None,
    )


def _runs(lab: Lab, word: str) -> tuple[RunName, ...] | None:
    """Return the runs that a word names, None if it names no run and no group."""
    if word in lab.runs:
        return (word,)
    if not word.startswith("@"):
        return None
    if word[1:] in lab.groups:
        return lab.groups[word[1:]]
    known = [f"@{group}" for group in lab.groups]
    raise InputError(
        f"no group '{word}' in this Lab" if known else f"no group '{word}': this Lab has none",
        hint=_suggestion(word, known, "groups"),
    )


def _job(lab: Lab, word: str) -> JobId:
    if word in lab.jobs:
        return word
    found = [job for job in lab.jobs if job.startswith(word)] if word else []
    if not found and "-" in word:  # the form of ids in tables
        found = [job for job in lab.jobs if short_id(job).startswith(word)]
    if len(found) == 1:
        return found[0]
    if found:
        raise InputError(
            f"'{word}' begins the ids of {len(found)} jobs{_listed(found)}",
            hint="type more of the id",
        )
    if any(stage_of(job) == word for job in lab.jobs):
        stage = shlex.quote(word)
        hint = (
            f"it is a stage: `repx run --stage {stage}` runs its jobs, "
            f"`repx list jobs --stage {stage}` lists them"
        )
        raise InputError(f"no run, group or job named '{word}'", hint=hint)
    raise InputError(
        f"no run, group or job named '{word}'",
        hint=_suggestion(word, [*lab.runs, *(f"@{group}" for group in lab.groups)], "runs"),
    )


def _of_stages(lab: Lab, meant: set[JobId], stages: Collection[str]) -> set[JobId]:
    found = {job: lab.jobs[job].stage for job in meant}
    present = set(found.values())
    for stage in stages:
        if stage not in present:
            raise InputError(
                f"no job of stage '{stage}' among those named",
                hint=_suggestion(stage, sorted(present), "stages"),
            )
    return {job for job, stage in found.items() if stage in stages}


def _suggestion(word: str, known: Sequence[str], kind: str) -> str | None:
    if not known:
        return None
    return did_you_mean(word, known) or f"{kind}: {_some(known)}"


def _listed(found: Sequence[JobId]) -> str:
    return f": {_some([short_id(job) for job in found])}" if found else ""


def _some(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
