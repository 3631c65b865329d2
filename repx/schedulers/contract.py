"""What a scheduler is: the verbs that every member has, and the data that they exchange.

A member decides nothing about processes or places: what it wants to run, it gives as words, and
what they answered, it reads. So a member is tested on recorded answers, and its words may run on
this machine or on another one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from repx.model import JobId, Lab
    from repx.places import Question
    from repx.places.command import Completed
    from repx.plan import Plan
    from repx.render import RenderedFile
    from repx.status import JobState
    from repx.store import Store
    from repx.target import Resources, Target

Words: TypeAlias = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much of a machine an agent may use: None leaves the machine's own."""

    jobs: int | None = None
    cpus: int | None = None
    mem_bytes: int | None = None
    gpus: int | tuple[str, ...] | None = None
    keep_going: bool = False

    def words(self) -> Words:
        """Return the options as ``run.sh`` and the agent take them."""
        given = (
            ("-j", self.jobs),
            ("--cpus", self.cpus),
            ("--mem", self.mem_bytes),
            ("--devices", ",".join(self.gpus))
            if isinstance(self.gpus, tuple)
            else ("--gpus", self.gpus),
        )
        options = (word for name, value in given if value for word in (name, str(value)))
        return (*options, *(("--keep-going",) if self.keep_going else ()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """The submission folder to be made: its id, and what the site answered (``ask_site``)."""

    submission: str
    site: Completed | None = None


class Known(Protocol):
    """What a submission folder tells of the jobs that its scheduler may still have."""

    @property
    def submission(self) -> str:
        """Return the submission's id."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a scheduler told of jobs: their states, and the submissions it holds nothing more of."""

    jobs: Mapping[JobId, JobState]
    ended: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """A signal for the process that holds a lock and was started with an argument, both keys."""

    lock: str
    argument: str
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A command or signal that cancels so many jobs; what to append to which files before it.

    Files are keys of the store.
    Where that fails, what was appended is taken back: it must not act later.
    """

    send: Words | Signal
    jobs: int
    append: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    """What a submission came to: the system's ids, and the job that submits what is left."""

    ids: tuple[str, ...]
    calls: str = "call"
    continued_by: str | None = None


class Scheduler(Protocol):
    """Who decides when a job starts. ``repx.schedulers`` has the table of the members."""

    @property
    def name(self) -> str:
        """Return its name as messages and ``plan.json`` have it."""
        ...

    @property
    def script(self) -> str:
        """Return the script of a submission folder that starts its jobs."""
        ...

    @property
    def tools(self) -> Mapping[str, str]:
        """Return the programs that a place must have, and the command that tries each."""
        ...

    @property
    def attended(self) -> bool:
        """Return whether ``script`` lives as long as the jobs, and writes ``events.jsonl``."""
        ...

    def ask_site(self, target: Target) -> Words | None:
        """Return what to ask the place before files are made; None where nothing is."""
        ...

    def files(self, plan: Plan, lab: Lab, target: Target, folder: Folder) -> Iterable[RenderedFile]:
        """Return what a submission folder has beside the jobs' own scripts."""
        ...

    def check(self, plan: Plan) -> None:
        """Raise an error for a plan that this scheduler cannot run, before anything is written.

        OutOfReachError when a job waits for one that it cannot wait for, InputError for options
        that it cannot be given.
        """
        ...

    def start(self, folder: str, limits: Limits) -> Words:
        """Return what to run to start a submission."""
        ...

    def submitted(self, store: Store, submission: str) -> Submitted:
        """Return what a submission came to."""
        ...

    def known(self, store: Store, submission: str) -> Known | None:
        """Return what a folder tells, or None where this scheduler has no live job of it."""
        ...

    def questions(self, known: Sequence[Known]) -> Sequence[Question[Answer]]:
        """Return what to ask the place about all jobs that may be alive."""
        ...

    def foreseen(self, store: Store) -> Sequence[Question[Answer]]:
        """Return what is likely to be asked of live jobs; a look at the store asks it along.

        Words of ``questions`` that are the same are answered without a further round trip.
        """
        ...

    def joined(self, told: Sequence[Answer]) -> Answer:
        """Return the answers to all questions as one."""
        ...

    def told(
        self, store: Store, known: Sequence[Known], answer: Answer
    ) -> Mapping[JobId, JobState]:
        """Return the jobs' states with what the store tells of them beside the answer."""
        ...

    def ended(self, store: Store, submission: str) -> str | None:
        """Return how the jobs of a submission ended, or None while some may be alive.

        One line per job that left no marker: its id, its state and the reason, with tabs between.
        """
        ...

    def remembered(self, store: Store) -> Mapping[JobId, JobState]:
        """Return how jobs without a marker ended, as somebody saw it in time."""
        ...

    def cancel(
        self,
        store: Store,
        known: Sequence[Known],
        answer: Answer,
        jobs: Collection[JobId] | None,
    ) -> Iterator[Order]:
        """Yield what ends some jobs, or all of them when ``jobs`` is None.

        ``answer`` is what was told just before. Raises SchedulerError for jobs that this machine
        cannot reach.
        """
        ...

    def logs(self, store: Store, job: JobId) -> list[str]:
        """Return the files in which the scheduler told of a job, newest last."""
        ...

    def asked(self, target: Target, resources: Resources) -> list[str]:
        """Return what is asked of the scheduler for one job, as its scripts have it."""
        ...

    def prologue(self, target: Target) -> Iterable[str]:
        """Return the shell lines that the site needs before a job."""
        ...
