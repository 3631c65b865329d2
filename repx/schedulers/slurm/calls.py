"""Slurm as the client uses it: submit a folder, cancel in one call, find logs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from repx import submissions
from repx.errors import CommandNotFoundError, SchedulerError
from repx.schedulers.slurm import folder as folders
from repx.schedulers.slurm import queue
from repx.schedulers.slurm.folder import BUNDLE, CONTINUE, Known

if TYPE_CHECKING:
    from repx.model import JobId
    from repx.places.command import Run
    from repx.store import Store

_ASK_S: Final = 120
_SUBMIT_S: Final = 4 * 3600
_IDS_PER_CALL: Final = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    """What a submission came to: ids by call, and the job that submits what is left, if any."""

    ids: Mapping[str, str]
    continued_by: str | None


def max_array_size(run: Run) -> int | None:
    """Return the site's MaxArraySize, or None where Slurm does not say."""
    try:
        answer = run(["scontrol", "show", "config"], timeout_s=_ASK_S, check=False)
    except CommandNotFoundError:
        return None
    return queue.parse_max_array_size(answer.stdout) if answer.code == 0 else None


def submit(run: Run, store: Store, submission: str) -> Submitted:
    """Run a folder's own submit.sh. Raises SchedulerError with what Slurm said."""
    folder = store.path(f"{submissions.FOLDER}/{submission}")
    argv = ["bash", f"{folder}/submit.sh"]
    answer = run(argv, timeout_s=_SUBMIT_S, check=False)
    if answer.code != 0:
        message, _, hint = answer.stderr.strip().partition("\n\nhint: ")
        raise SchedulerError(message or f"submit.sh ended with {answer.code}", hint=hint or None)
    known = folders.read(store, submission)
    return Submitted(
        ids={name: id_ for name, id_ in known.ids.items() if name != CONTINUE},
        continued_by=known.ids.get(CONTINUE),
    )


def logs(store: Store, job: JobId) -> list[str]:
    """Return what Slurm and the scripts had to say of a job: paths on the target, newest last."""
    found = []
    for submission in submissions.ids(store):
        folder = f"{submissions.FOLDER}/{submission}"
        known = folders.read(store, submission)
        ids = [known.awaited(row) for row in known.rows if row.job == job]
        ids = [id_.removeprefix(BUNDLE) for id_ in ids if id_]
        children = tuple(f"{id_}_" for id_ in known.children.get(job, ()))
        for name in store.names(f"{folder}/logs"):
            stem = name.removesuffix(".out")
            if stem in ids or (children and stem.startswith(children)):
                found.append(store.path(f"{folder}/logs/{name}"))
    return found


def cancel(run: Run, store: Store, jobs: Iterable[JobId] | None) -> int:
    """Cancel some jobs, or everything when ``jobs`` is None; return how many ids that were.

    One scancel for all; another one where a scatter-gather job submitted steps meanwhile.
    Raises CommandError with what Slurm said.
    """
    wanted = None if jobs is None else frozenset(jobs)
    asked: set[str] = set()
    while fresh := {id_ for known in _unfinished(store) for id_ in _meant(known, wanted)} - asked:
        _scancel(run, sorted(fresh))
        asked |= fresh
    if wanted is not None:
        asked |= {id_ for known in _unfinished(store) for id_ in _within(run, store, known, wanted)}
    return len(asked)


def _meant(known: Known, wanted: frozenset[JobId] | None) -> Iterator[str]:
    """Yield the ids to cancel: a call's own where all of its jobs are meant."""
    if wanted is None:
        yield from known.all_ids
        return
    for call, rows in known.by_call().items():
        meant = [row for row in rows if row.job in wanted]
        id_ = known.ids.get(call)
        if id_ is not None and len(meant) == len(rows):
            yield id_
        elif id_ is not None:
            yield from (f"{id_}_{row.index}" for row in meant if row.index is not None)
    for job, ids in known.children.items():
        if job in wanted:
            yield from ids


def _within(run: Run, store: Store, known: Known, wanted: frozenset[JobId]) -> Iterator[str]:
    """Ask bundles to end some of their jobs; yield the bundles' ids."""
    for call, rows in known.by_call().items():
        meant = [row.job for row in rows if row.bundle and row.job in wanted]
        id_ = known.ids.get(call)
        if id_ is None or not meant or len(meant) == len(rows):
            continue
        key = f"{submissions.FOLDER}/{known.submission}/bundles/{rows[0].bundle}/cancel"
        words = (store.read_text(key) or "") + "".join(f"{job}\n" for job in meant)
        store.write(key, words.encode())
        run(["scancel", "--batch", "--signal=HUP", id_], timeout_s=_ASK_S)
        yield id_


def _scancel(run: Run, ids: list[str]) -> None:
    for start in range(0, len(ids), _IDS_PER_CALL):
        run(["scancel", *ids[start : start + _IDS_PER_CALL]], timeout_s=_ASK_S)


def _unfinished(store: Store) -> Iterator[Known]:
    return (folders.read(store, name) for name in folders.unfinished(store))
