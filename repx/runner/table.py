"""The life of a unit, as one table: state and event give the next state.

``TABLE`` holds all legal moves; any other pair raises an error and changes nothing. Gates and jobs
of other runners are nodes of the same kind: a gate is ``WAITING`` until its jobs have ended, a job
of another runner is ``FOREIGN`` until it has ended.

    WAITING ── needs met ──► READY ── started ──► RUNNING ── ended well ──► SUCCEEDED
       │                     ▲ │ ▲                  │ │ └── ended badly ──► FAILED
       │ need failed         │ │ └─ retry ──────────┘ │
       ▼          look again │ ▼ seen elsewhere       └ stop, cancel: it is told, and runs on
    SKIPPED                 FOREIGN
    STOPPED   a unit of a run that was stopped
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

WAITING: Final = "waiting"  # for needs
READY: Final = "ready"  # queued
RUNNING: Final = "running"
FOREIGN: Final = "foreign"  # another runner has the job
SUCCEEDED: Final = "succeeded"
FAILED: Final = "failed"
SKIPPED: Final = "skipped"  # a need of the unit did not succeed
STOPPED: Final = "stopped"  # the unit's run was stopped
STATES: Final = (WAITING, READY, RUNNING, FOREIGN, SUCCEEDED, FAILED, SKIPPED, STOPPED)
ENDED: Final = frozenset({SUCCEEDED, FAILED, SKIPPED, STOPPED})

NEEDS_MET: Final = "needs met"  # the last need has ended well
NEED_FAILED: Final = "need failed"
STARTED: Final = "started"
COULD_NOT_START: Final = "could not start"
ENDED_WELL: Final = "ended well"
ENDED_BADLY: Final = "ended badly"
RETRY: Final = "retry"  # the unit ended badly and has attempts left
SEEN_DONE: Final = "seen done"  # the unit has already succeeded
SEEN_FAILED: Final = "seen failed"
SEEN_ELSEWHERE: Final = "seen elsewhere"  # or the machine has no room for the unit now
LOOK_AGAIN: Final = "look again"
CANCEL: Final = "cancel"
STOP: Final = "stop"
EVENTS: Final = (
    *(NEEDS_MET, NEED_FAILED, STARTED, COULD_NOT_START, ENDED_WELL, ENDED_BADLY),
    *(RETRY, SEEN_DONE, SEEN_FAILED, SEEN_ELSEWHERE, LOOK_AGAIN, CANCEL, STOP),
)

TABLE: Final = {
    (WAITING, NEEDS_MET): READY,
    (WAITING, NEED_FAILED): SKIPPED,
    (WAITING, SEEN_DONE): SUCCEEDED,
    (WAITING, CANCEL): FAILED,
    (WAITING, STOP): STOPPED,
    (READY, STARTED): RUNNING,
    (READY, COULD_NOT_START): FAILED,
    (READY, SEEN_DONE): SUCCEEDED,
    (READY, SEEN_ELSEWHERE): FOREIGN,
    (READY, CANCEL): FAILED,
    (READY, STOP): STOPPED,
    (RUNNING, ENDED_WELL): SUCCEEDED,
    (RUNNING, ENDED_BADLY): FAILED,
    (RUNNING, RETRY): READY,
    (RUNNING, SEEN_DONE): SUCCEEDED,
    (RUNNING, SEEN_ELSEWHERE): FOREIGN,
    (RUNNING, CANCEL): RUNNING,
    (RUNNING, STOP): RUNNING,
    (FOREIGN, LOOK_AGAIN): READY,
    (FOREIGN, SEEN_DONE): SUCCEEDED,
    (FOREIGN, SEEN_FAILED): FAILED,
    (FOREIGN, CANCEL): FAILED,
    (FOREIGN, STOP): STOPPED,
    # A unit that has ended keeps its state, whatever happens to its needs.
    (FAILED, NEEDS_MET): FAILED,
    (FAILED, NEED_FAILED): FAILED,
    (SKIPPED, NEED_FAILED): SKIPPED,
    (SKIPPED, CANCEL): SKIPPED,
    (SKIPPED, STOP): SKIPPED,
    (STOPPED, NEEDS_MET): STOPPED,
    (STOPPED, NEED_FAILED): STOPPED,
    (STOPPED, CANCEL): STOPPED,
    (STOPPED, STOP): STOPPED,
    (FAILED, CANCEL): FAILED,
    (FAILED, STOP): FAILED,
    (SUCCEEDED, NEEDS_MET): SUCCEEDED,
    (SUCCEEDED, CANCEL): SUCCEEDED,
    (SUCCEEDED, STOP): SUCCEEDED,
}


class IllegalMoveError(Exception):
    """An event that cannot happen in a state: a mistake in the runner."""


def after(state: str, event: str) -> str:
    """Return the state after an event. Raises IllegalMoveError when there is none."""
    try:
        return TABLE[state, event]
    except KeyError:
        raise IllegalMoveError(f"a unit that is {state} cannot be told: {event}") from None
