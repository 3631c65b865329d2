"""What to cancel in Slurm: whole calls, elements of arrays, steps, and jobs inside bundles."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from repx import submissions
from repx.schedulers.contract import Order
from repx.schedulers.slurm import answers, queue
from repx.status import ALIVE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from repx.model import JobId
    from repx.schedulers.slurm.folder import Known
    from repx.schedulers.slurm.queue import Entry, Key


def ids(
    known: Known, entries: Mapping[Key, Entry], wanted: frozenset[JobId] | None
) -> dict[str, int]:
    """Return the ids to cancel, each with how many live jobs of Slurm it stands for.

    All of a submission, where every job of it is meant, with what submits or joins others; else
    a call's own id where all of its jobs are meant.
    """
    known = answers.adopted(known, entries)
    alive = {key for key, entry in entries.items() if entry.queued and entry.word != "COMPLETING"}
    of_array = Counter(array for array, _ in alive)
    if wanted is None or all(row.job in wanted for row in known.rows):
        return dict(of_array)
    found: dict[str, int] = {}
    for call, rows in known.by_call().items():
        id_ = known.ids.get(call, "")
        meant = [row for row in rows if row.job in wanted]
        if len(meant) == len(rows) and id_ in of_array:
            found[id_] = of_array[id_]
        elif len(meant) < len(rows):
            live = (row.index for row in meant if (id_, row.index) in alive)
            found |= {f"{id_}_{index}": 1 for index in live if index is not None}
        found |= {
            queue.element(again, row.index): 1
            for row in meant
            if (again := known.id_of(row)) != id_ and (again, row.index) in alive
        }
    for job, children in known.children.items():
        if job in wanted:
            found |= {id_: of_array[id_] for id_ in children if id_ in of_array}
    return found


def within_bundles(
    known: Known, entries: Mapping[Key, Entry], wanted: frozenset[JobId]
) -> Iterator[Order]:
    """Yield what asks bundles to end some of their jobs, those that go on with others."""
    known = answers.adopted(known, entries)
    for call, rows in known.by_call().items():
        meant = [row.job for row in rows if row.bundle and row.job in wanted]
        id_ = known.ids.get(call, "")
        outer = entries.get((id_, None))
        if not meant or len(meant) == len(rows) or outer is None or outer.state not in ALIVE:
            continue
        key = f"{submissions.FOLDER}/{known.submission}/bundles/{rows[0].bundle}/cancel"
        yield Order(
            send=queue.scancel_argv([id_], known.cluster, "--batch", "--signal=HUP"),
            jobs=len(meant),
            append=((key, "".join(f"{job}\n" for job in meant)),),
        )
