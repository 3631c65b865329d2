"""Inputs that were deleted since they were made: told before a run starts, and made again."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from repx import console, gone
from repx.cli import paste
from repx.errors import InputError
from repx.model import short_id

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from repx.model import JobId, Lab
    from repx.plan import Plan, Wish
    from repx.store import Store

    Gone = Mapping[JobId, Sequence[str]]

_NAMED: Final = 3


def plan(
    lab: Lab, store: Store, wish: Wish, planned: Callable[[Wish], Plan], *, starts: bool = True
) -> tuple[Plan, Wish]:
    """Return a plan, and its wish, in which jobs run again whose deleted outputs others need now.

    Raises InputError where there are such jobs and the user does not want them to run, unless
    nothing ``starts``.
    """
    if wish.only_gone:
        deleted = gone.outputs(store, (lab.jobs[job] for job in wish.jobs))
        wish = replace(wish, jobs=tuple(deleted), remake=True, remade=_reasons(deleted))
    found = planned(wish)
    while (starts or wish.remake) and (missing := _missing(lab, store, found)):
        if not (wish.remake or _agreed(missing)):
            raise InputError(_told(missing), hint=_hint())
        wish = replace(wish, remake=True, remade={**wish.remade, **_reasons(missing)})
        found = planned(wish)
    _tell_of_runs(lab, store, found)
    return found, wish


def _tell_of_runs(lab: Lab, store: Store, found: Plan) -> None:
    """Warn of outputs that are gone where jobs read whatever a run has: they miss it silently."""
    running = {task.job.id for task in found.tasks}
    lacking = gone.of_runs(store, lab, (task.job for task in found.tasks), running)
    if lacking:
        console.warn(f"jobs read whole runs of which outputs are gone: {_listed(lacking)}")
        again = paste.line("run", "--gone", *sorted(_runs_of(lab, lacking)))
        console.note(f"hint: `{again}` makes them again, and runs the jobs that depend on them")


def _runs_of(lab: Lab, jobs: Gone) -> set[str]:
    runs = lab.runs_of_jobs()
    return {runs[job][0] for job in jobs}


def foretell(lab: Lab, store: Store, found: Plan) -> None:
    """Say of a plan that is only shown which inputs of its jobs were deleted."""
    missing = _missing(lab, store, found)
    if missing:
        console.warn(_told(missing))
        console.note(f"hint: {_hint()}")


def _reasons(missing: Gone) -> dict[JobId, str]:
    return {job: f"its output is gone: {', '.join(names)}" for job, names in missing.items()}


def _missing(lab: Lab, store: Store, found: Plan) -> Gone:
    return gone.inputs(store, lab, (task.job for task in found.tasks), found.done)


def _agreed(missing: Gone) -> bool:
    if not console.can_ask():
        return False
    return console.confirm(f"{_told(missing)}. Make them again, with the jobs that depend on them?")


def _told(missing: Gone) -> str:
    return f"outputs are gone that jobs need now: {_listed(missing)}"


def _listed(missing: Gone) -> str:
    shown = [
        f"{', '.join(names)} of {short_id(job)}" for job, names in list(missing.items())[:_NAMED]
    ]
    more = f", and outputs of {len(missing) - _NAMED} more jobs" if len(missing) > _NAMED else ""
    return f"{'; '.join(shown)}{more}"


def _hint() -> str:
    again = paste.again("--remake", without=("-n", "--dry-run"))
    return f"`{again}` makes them again, and runs the jobs that depend on them"
