"""Retries by reason: which calls of sbatch get one that waits for their failure.

Slurm itself tries nothing again with more memory or time. So a call whose jobs may be tried again
is followed by a small one, ``<call>.again``, that Slurm starts when the call has ended and not all
of it succeeded (``afternotok``), and drops when all did. It submits what failed once more, and lets
whoever waits for that wait for the new jobs (templates/again.sh).

Until then Slurm must not cancel who waits, so in such a submission whoever waits is *kept*, and
every call that others wait for gets such a job: it also cancels what can never start.

Steps of scatter-gather jobs get such jobs from the scatter that submits them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from repx.schedulers.slurm.batches import Call, Kind, SubmissionSpec
from repx.schedulers.slurm.folder import AGAIN
from repx.status import Batch
from repx.target import RetryReason

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from repx.plan import Plan
    from repx.target import Retries

# What runs in a bundle is tried again there; scatter goes with its gather.
_TRIED: Final = frozenset((Kind.JOBS, Kind.STEP))
_NOT_WATCHED: Final = frozenset((Kind.BUNDLE, Kind.SCATTER))
_AFTER_ANY: Final = "afterany="


def tries(spec: SubmissionSpec) -> int:
    """Return how often a job may need another Slurm job; after a plain failure its own will do."""
    return spec.retries.n if spec.kind in _TRIED and _wanted(spec.retries) else 0


def _wanted(retries: Retries) -> bool:
    return retries.n > 0 and any(reason is not RetryReason.EXIT for reason in retries.on)


def of_plan(plan: Plan) -> bool:
    """Return whether anything of a plan, or that it waits for, may be tried again by Slurm jobs."""
    return bool(_watchers(plan)) or any(
        _wanted(task.retries) for task in plan.tasks if task.units[0].resources.bundle is None
    )


def _watchers(plan: Plan) -> dict[str, str]:
    """Return the ids of such jobs by the ids, of other submissions, that they watch."""
    alive = (by for by in plan.alive.values() if isinstance(by, Batch))
    return {by.id: by.again for by in alive if by.again}


def watched(calls: Sequence[Call], plan: Plan) -> Iterator[Call]:
    """Yield the calls, each that needs it followed by the one that submits it again."""
    awaited = {name for call in calls for name in _names(call)}
    names = {
        call.name
        for call in calls
        if call.spec.kind not in _NOT_WATCHED and (tries(call.spec) or call.name in awaited)
    }
    known = {**{name: name + AGAIN for name in names}, **_watchers(plan)}
    ours = {*known, *(call.name for call in calls)}
    for call in calls:
        conditions = tuple(_with_watchers(condition, known) for condition in call.conditions)
        yield replace(call, conditions=conditions, kept=_is_kept(call, ours))
        if call.name in names:
            yield Call(
                name=call.name + AGAIN,
                spec=SubmissionSpec(Kind.AGAIN, call.spec.title + AGAIN),
                jobs={},
                conditions=(f"afternotok={call.name}",),
                partner=call.name,
            )


def _is_kept(call: Call, watched: Collection[str]) -> bool:
    """Return whether a Slurm job of ours ends the wait of one that can no longer start."""
    return call.spec.kind is not Kind.GATHER and any(name in watched for name in _names(call))


def _names(call: Call) -> Iterator[str]:
    for condition in call.conditions:
        for reference in condition.partition("=")[2].split(","):
            yield _whole(reference)


def _whole(reference: str) -> str:
    """Return the call, or the id, of a reference that may name one element: ``4711_3``."""
    name = reference.partition("[")[0]
    id_ = name.partition("_")[0]
    return id_ if id_.isdecimal() else name


def _with_watchers(condition: str, watchers: Mapping[str, str]) -> str:
    """Return a condition; the end of a job that may be tried again is that of its last attempt."""
    if not condition.startswith(_AFTER_ANY):
        return condition
    references = condition.removeprefix(_AFTER_ANY).split(",")
    names = dict.fromkeys(map(_whole, references))
    also = [watchers[name] for name in names if name in watchers]
    return _AFTER_ANY + ",".join([*references, *also])
