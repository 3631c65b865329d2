"""What all schedulers of a store have: which jobs are alive there, and how to cancel them."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from repx import seen, submissions
from repx.errors import (
    BusyError,
    CommandError,
    CommandNotFoundError,
    RepxError,
    SchedulerError,
    StorageError,
)
from repx.places import holder, look
from repx.schedulers import MEMBERS
from repx.schedulers.contract import Answer, Signal

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from repx.model import JobId
    from repx.places import Question
    from repx.schedulers.contract import Known, Order, Scheduler
    from repx.status import JobState
    from repx.store import Store

T = TypeVar("T")

log = logging.getLogger(__name__)

_ASK_S: Final = 120
_PATIENCE_S: Final = 5.0  # with a batch system that does not answer
_PAUSE_S: Final = 1.0
_CLOSED_MOST: Final = 100


def reported(store: Store) -> dict[JobId, JobState]:
    """Return what schedulers tell of all jobs of a store that may not have ended.

    Whatever the target: agents may work beside a batch system, and targets may share a store.
    """
    found: dict[JobId, JobState] = {}
    names = submissions.ids(store)
    for scheduler in MEMBERS.values():
        found |= scheduler.remembered(store)
    for scheduler in MEMBERS.values():
        known = _known(store, scheduler, names)
        if known:
            found |= scheduler.told(store, known, _answer(store, scheduler, known))
    return found


def foreseen(store: Store) -> list[Question[Answer]]:
    """Return the questions that a look at the store should ask along."""
    return [each for scheduler in MEMBERS.values() for each in scheduler.foreseen(store)]


def _known(store: Store, scheduler: Scheduler, names: Sequence[str]) -> list[Known]:
    told = (_unless_closed_to_us(scheduler.known, store, name) for name in names)
    return [each for each in told if each is not None]


def _unless_closed_to_us(
    tell: Callable[[Store, str], T | None], store: Store, name: str
) -> T | None:
    """Return what is told of a submission; one that another user keeps closed is passed over."""
    try:
        return tell(store, name)
    except StorageError as error:
        log.warning("%s; passed over", error.message)
        return None


def _answer(store: Store, scheduler: Scheduler, known: Sequence[Known]) -> Answer:
    answers = store.place.ask(scheduler.questions(known))
    return scheduler.joined(answers)


def close_ended(store: Store) -> None:
    """Close the submissions that have ended, so that nobody opens them again.

    ``store`` is as a look saw it, which tells whether anything changes there still.
    Where the store may not be written, they stay.
    """
    ended = {
        name: record
        for name in submissions.ids(store)
        if store.read_many([f"{submissions.FOLDER}/{name}/{look.QUIET}"])
        for scheduler in MEMBERS.values()
        if (record := _unless_closed_to_us(scheduler.ended, store, name)) is not None
    }
    if not ended:
        return
    lines = [line for record in ended.values() for line in record.splitlines()]
    marked = store.markers({line.partition("\t")[0] for line in lines}) if lines else {}
    kept = (line for line in lines if line.partition("\t")[0] not in marked)
    try:
        text = "".join(f"{line}\n" for line in kept)
        store.files.close_submissions(list(ended), text.encode())
    except OSError as error:
        log.debug("submissions stay open: %s", error)


# --- cancelling --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancelled:
    """How many jobs or array elements each scheduler was asked to end, and what went wrong."""

    asked: dict[str, int]
    errors: tuple[RepxError, ...]


def cancel(
    store: Store,
    jobs: Collection[JobId] | None,
    submission: str | None = None,
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> Cancelled:
    """Cancel some jobs, or all of them when ``jobs`` is None, of one submission or of all.

    Asks again where a job of a batch system submitted others meanwhile, and where a batch system
    does not answer. What one scheduler cannot do keeps nothing from being asked of another.
    """
    asked: dict[str, int] = {}
    errors: list[RepxError] = []
    for scheduler in MEMBERS.values():
        sent: set[str | Signal] = set()
        until = time.monotonic() + _PATIENCE_S
        for last in (False, False, True):
            try:
                for order in _new_orders(store, scheduler, submission, jobs, sent):
                    _send(store, order)
                    sent.update(_parts(order))
                    asked[scheduler.name] = asked.get(scheduler.name, 0) + order.jobs
                break
            except (SchedulerError, CommandNotFoundError) as error:
                if last or not isinstance(error, BusyError) or time.monotonic() > until:
                    errors.append(error)
                    break
                sleep(_PAUSE_S)
    return Cancelled(asked=asked, errors=tuple(errors))


def _new_orders(
    store: Store,
    scheduler: Scheduler,
    submission: str | None,
    jobs: Collection[JobId] | None,
    sent: Collection[str | Signal],
) -> Iterator[Order]:
    """Yield the orders that a look gives, look after look, until all of them were sent."""
    looks = iter(lambda: list(_orders(store, scheduler, submission, jobs)), [])
    for orders in looks:
        new = [order for order in orders if not set(_parts(order)).issubset(sent)]
        if not new:
            return
        yield from new


def _parts(order: Order) -> tuple[str | Signal, ...]:
    """Return what an order names: an agent, or ids among its words."""
    return order.send if isinstance(order.send, tuple) else (order.send,)


def _orders(
    store: Store,
    scheduler: Scheduler,
    submission: str | None,
    jobs: Collection[JobId] | None,
) -> Iterator[Order]:
    store = seen.look(store, (), foreseen(store))
    names = submissions.ids(store) if submission is None else [submission]
    known = _known(store, scheduler, names)
    if known:
        yield from scheduler.cancel(store, known, _answer(store, scheduler, known), jobs)


def _send(store: Store, order: Order) -> None:
    """Carry an order out, or nothing of it."""
    if isinstance(order.send, Signal) and not _signal(store, order.send, 0):
        return
    before = {key: store.read(key) or b"" for key, _ in order.append}
    for key, text in order.append:
        store.append(key, text.encode())
    try:
        if isinstance(order.send, Signal):
            _signal(store, order.send, order.send.number)
        else:
            store.place.run(order.send, timeout_s=_ASK_S)
    except BaseException as error:
        for key, content in before.items():
            store.write(key, content)
        if isinstance(error, CommandError):
            raise BusyError(error.stderr.strip() or error.message) from error
        raise


def _signal(store: Store, to: Signal, number: int) -> bool:
    """Send a signal; return whether there was still a process.

    Raises SchedulerError when it is on another machine or somebody else's.
    """
    path = store.path(to.lock)
    found, host = store.place.signal(path, store.path(to.argument), number)
    if found == holder.ELSEWHERE:
        message = f"{store.path(to.argument)} runs on {host}, where this machine cannot stop it"
        raise SchedulerError(message, hint=f"log in to {host} and type the same command there")
    if found == holder.FOREIGN:
        raise SchedulerError(
            f"{path} names no scheduler of yours, so nothing is signalled",
            hint="the user who started the submission can cancel it",
        )
    return found == holder.SENT


def logs(store: Store, job: JobId) -> list[str]:
    """Return the files in which schedulers told of a job, newest last."""
    return [path for scheduler in MEMBERS.values() for path in scheduler.logs(store, job)]


def said(store: Store, job: JobId) -> tuple[str, str]:
    """Return the newest file in which a scheduler told of a job, and its text; or nothing.

    Closed submissions are looked through, too, from the newest on.
    """
    found = logs(store, job)
    if found:
        return found[-1], store.read_text(found[-1].removeprefix(f"{store.root}/")) or ""
    for name in submissions.closed(store)[:_CLOSED_MOST]:
        then = seen.closed(store, name)
        found = logs(then, job)
        if found:
            key = found[-1].removeprefix(f"{store.root}/")
            return f"{store.path(f'{submissions.CLOSED}/{name}')}: {key}", then.read_text(key) or ""
    return "", ""
