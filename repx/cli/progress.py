"""What a person sees while jobs run: a live block on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from repx import console, submissions
from repx.errors import InterruptedRunError, JobsFailedError, SchedulerError
from repx.model import short_id
from repx.submissions import Phases

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rich.console import Group, RenderableType

    from repx.model import JobId
    from repx.store import Store
    from repx.submissions import Event

_SHOWN_JOBS: Final = 6
_FAST_JOB_S: Final = 0.05
_BAR_WIDTH: Final = 60
_NAMED: Final = 3  # culprits in one message


@dataclass(slots=True, kw_only=True)
class Tally:
    """What has happened to the jobs of one submission. Mutable: fed one event at a time."""

    total: int
    ok: int = 0
    failed: dict[JobId, str] = field(default_factory=dict)
    phases: Phases = field(default_factory=Phases)
    skipped: dict[JobId, JobId] = field(default_factory=dict)
    running: dict[tuple[JobId, str | None], float] = field(default_factory=dict)
    over: bool = False
    interrupted: bool = False

    def add(self, event: Event) -> None:
        """Count one event. A job whose failed phases are all tried again is no longer failed."""
        self.phases.add(event)
        match event.kind:
            case "start":
                self._tried_again(event)
                self.running[event.job, event.phase] = event.time_s
            case "wait":
                self.running.pop((event.job, event.phase), None)
            case "queue":
                self._waits_again(event)
            case "end":
                self._ended(event)
            case "skip":
                self.skipped[event.job] = event.because
            case "agent-end":
                self.over = True
                self.interrupted = event.reason == "interrupted"
            case _:
                pass

    def _waits_again(self, event: Event) -> None:
        """Count a job as waiting that was seen running, or ended."""
        self.running.pop((event.job, event.phase), None)
        self._tried_again(event)
        self.skipped.pop(event.job, None)

    def _ended(self, event: Event) -> None:
        self.running.pop((event.job, event.phase), None)
        if event.ends_job and event.ok:
            self.ok += 1
        elif event.ends_job:
            self.failed.setdefault(event.job, event.reason)

    def _tried_again(self, event: Event) -> None:
        if event.job not in self.phases.failed:
            self.failed.pop(event.job, None)

    @property
    def ended(self) -> int:
        """Return how many jobs have come to an end."""
        return self.ok + len(self.failed) + len(self.skipped)

    def line(self) -> str:
        """Return the counts in words, zeros left out except for what succeeded."""
        parts = [f"{self.ok}/{self.total} ok"]
        waiting = self.total - self.ended - len({job for job, _ in self.running})
        counts = (
            (len(self.failed), "failed"),
            (len(self.skipped), "skipped"),
            (len(self.running), "running"),
            (max(waiting, 0), "not started" if self.over else "waiting"),
        )
        parts += [f"{count} {word}" for count, word in counts if count]
        if steps := sum(self.phases.steps.values()):
            parts.append(
                f"{sum(self.phases.ended[job] for job in self.phases.steps)}/{steps} steps"
            )
        return ", ".join(parts)


class Display(Protocol):
    """Shows a tally as it changes."""

    def show(self, tally: Tally, news: list[Event]) -> None:
        """Take note of new events; called often, mostly with none."""
        ...


class Lines:
    """One line per job that ends, for logs and pipes; of fast jobs only every so many."""

    def __init__(self) -> None:
        """Start with nothing said."""
        self._said_at = 0.0
        self._listed = 0

    def show(self, tally: Tally, news: list[Event]) -> None:
        """Print failures always, the counts at most once in two seconds and not at the end.

        Whoever watches tells how it ended.
        """
        for event in news:
            if remark := _remark(event):
                console.note(remark)
            elif event.kind == "end" and event.wall_s >= _FAST_JOB_S and tally.total <= _FEW:
                self._list(event)
        due = time.monotonic() - self._said_at > _SAY_EVERY_S
        if news and due and tally.ended < tally.total:
            self._said_at = time.monotonic()
            console.note(tally.line())

    def _list(self, event: Event) -> None:
        """Say that a job, or one of its many phases, ended well; the first few times."""
        self._listed += 1
        if self._listed <= _FEW:
            console.note(f"  ok {_name(event)} ({console.duration(event.wall_s)})")
        elif self._listed == _FEW + 1:
            console.note("  ... more are ok; only failures are listed from here on")


_FEW: Final = 40
_SAY_EVERY_S: Final = 2.0


def _remark(event: Event) -> str:
    """Return what people want to know of an event at once; "" for most."""
    if event.kind == "end" and not event.ok:
        return f"FAIL {_name(event)}: {event.reason}"
    if event.kind == "wait":
        return f"wait {_name(event)}: another process still has it ({event.because})"
    return ""


def _name(event: Event) -> str:
    return f"{short_id(event.job)} {event.phase}" if event.phase else short_id(event.job)


class Live:
    """A block of a few lines that is redrawn in place; only for a terminal."""

    def __init__(self) -> None:
        """Start the redrawing."""
        from rich.console import Console  # only on a terminal
        from rich.live import Live as RichLive

        self._started = time.monotonic()
        self._tally: Tally | None = None
        self._live = RichLive(
            console=Console(stderr=True, highlight=False),
            transient=True,
            refresh_per_second=8,
            get_renderable=self._block,
        )
        self._live.start()

    def show(self, tally: Tally, news: list[Event]) -> None:
        """Take note; failures are printed above the block, which is redrawn all the time."""
        for event in news:
            if remark := _remark(event):
                self._live.console.print(
                    remark, style="red" if event.kind == "end" else "yellow", markup=False
                )
        self._tally = tally

    def stop(self) -> None:
        """Remove the block."""
        self._live.stop()

    def _block(self) -> Group:
        from rich.console import Group
        from rich.text import Text

        if (tally := self._tally) is None:
            return Group()
        elapsed = time.monotonic() - self._started
        full = round(_BAR_WIDTH * tally.ended / max(tally.total, 1))
        rows: list[RenderableType] = [
            Text("━" * full, style="green") + Text("━" * (_BAR_WIDTH - full), style="dim"),
            Text(f"{tally.line()}  {_times(tally, elapsed)}"),
            *(Text(f"  {line}", style="dim") for line in _current(tally)),
        ]
        return Group(*rows)


def _times(tally: Tally, elapsed_s: float) -> str:
    said = console.duration(elapsed_s)
    if not 0 < tally.ended < tally.total:
        return said
    left_s = elapsed_s / tally.ended * (tally.total - tally.ended)
    return f"{said}, about {console.duration(left_s)} left"


def _current(tally: Tally) -> Iterator[str]:
    now = time.time()
    for (job, phase), since in list(tally.running.items())[:_SHOWN_JOBS]:
        name = f"{short_id(job)} {phase}" if phase else short_id(job)
        yield f"{name}  {console.duration(max(now - since, 0))}"
    if len(tally.running) > _SHOWN_JOBS:
        yield f"and {len(tally.running) - _SHOWN_JOBS} more"


def watch(batches: Iterable[list[Event]], tally: Tally) -> Tally:
    """Show events as they come until they end; returns the tally, which the caller may keep."""
    live = Live() if sys.stderr.isatty() else None
    display: Display = live or Lines()
    try:
        for news in batches:
            for event in news:
                tally.add(event)
            display.show(tally, news)
    finally:
        if live is not None:
            live.stop()
    return tally


def raise_for(tally: Tally, store: Store, submission: str = "", how: str = "") -> None:
    """Raise the error that says how jobs ended, if not well.

    ``submission`` is the one whose agent was watched, if one was, and ``how`` that ended.
    """
    again = "`repx run` continues with what is not done"
    if tally.interrupted:
        raise InterruptedRunError("interrupted", hint=again)
    if tally.failed:
        raise JobsFailedError(f"{len(tally.failed)} of {tally.total} jobs failed")
    if tally.skipped:
        culprits = ", ".join(sorted({short_id(job) for job in tally.skipped.values()})[:_NAMED])
        raise JobsFailedError(
            f"{len(tally.skipped)} of {tally.total} jobs were skipped: {culprits} failed elsewhere",
            hint=again,
        )
    if tally.ok < tally.total and not submission:
        message = f"{tally.total - tally.ok} of {tally.total} jobs did not succeed"
        raise JobsFailedError(message, hint=again)
    if tally.ok < tally.total:
        said = store.tail_text(f"{submissions.FOLDER}/{submission}/agent.log", 5)
        raise SchedulerError(
            "the local scheduler ended early"
            + (f" ({how})" if how else "")
            + (f"; it said:\n{said}" if said else ""),
            hint=again,
        )
