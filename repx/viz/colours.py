"""The colours of the states, the same in every picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from repx.status import State

if TYPE_CHECKING:
    from collections.abc import Mapping

# Fill and line of a box: dark text is readable on the fill; the line stays distinct in print.
COLOURS: Final[Mapping[State, tuple[str, str]]] = {
    State.SUCCEEDED: ("#dff3e4", "#2f8f4e"),
    State.FAILED: ("#fbdfdd", "#c0392b"),
    State.RUNNING: ("#d9edf7", "#2471a3"),
    State.QUEUED: ("#e8eaf6", "#5c6bc0"),
    State.LOST: ("#f3e0f5", "#8e44ad"),
    State.STALE: ("#eef3df", "#7d8f2f"),
    State.SKIPPED: ("#fdf0d5", "#b9770e"),
    State.BLOCKED: ("#f4f4f4", "#9aa0a6"),
    State.PENDING: ("#ffffff", "#9aa0a6"),
}
