"""The local scheduler: an agent of ours that runs a submission's jobs on the machine it is on."""

from __future__ import annotations

import signal
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from repx import runner_code, submissions
from repx.errors import OutOfReachError
from repx.places import look
from repx.schedulers.contract import Answer, Folder, Limits, Order, Signal, Submitted, Words
from repx.status import Agent, JobState, State
from repx.target import SchedulerName

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from repx.model import JobId, Lab
    from repx.places import Question
    from repx.plan import Plan
    from repx.render import RenderedFile
    from repx.schedulers.contract import Known
    from repx.store import Store
    from repx.submissions import Event
    from repx.target import Resources, Target

_SCRIPT: Final = 0o755
# The first python3 that is new enough, as `Place.python` finds it.
_PYTHON: Final = "import sys; v = sys.version_info; v < (3, 9) and exit(1); print(sys.version[:6])"
_PYTHONS: Final = "python3 $(printf 'python3.%s ' {20..9})"
_TOOLS: Final[Mapping[str, str]] = {
    "python3": f"for p in {_PYTHONS}; do $p -c '{_PYTHON}' 2>/dev/null && exit; done;"
    " echo older than 3.9; exit 1"
}


@dataclass(frozen=True, slots=True)
class Working:
    """A submission that an agent works on: it holds the submission's lock."""

    submission: str


@dataclass(frozen=True, slots=True)
class Local:
    """Jobs run below an agent, whose events tell of them."""

    name: str = SchedulerName.LOCAL.value
    script: str = "run.sh"
    attended: bool = True

    @property
    def tools(self) -> Mapping[str, str]:
        """Return what the agent needs."""
        return _TOOLS

    def ask_site(self, target: Target) -> None:
        """Return None: the agent finds out by itself how large its machine is."""
        del target

    def files(self, plan: Plan, lab: Lab, target: Target, folder: Folder) -> Iterator[RenderedFile]:
        """Yield ``run.sh``, which starts the agent that lies in the store."""
        from repx import render  # jinja2 costs 70 ms where nothing is to be rendered

        del plan, lab, folder
        own = target.local
        limits = Limits(jobs=own.jobs, cpus=own.cpus, mem_bytes=own.mem_bytes, gpus=own.gpus)
        options = render.Raw("".join(f" {word}" for word in limits.words()))
        runner = runner_code.start(target.base_path)
        made = render.environment(target.templates)
        text = render.fill(made, "run.sh.j2", runner=runner, options=options, umask=target.umask)
        yield render.RenderedFile(path=self.script, text=text, mode=_SCRIPT)

    def check(self, plan: Plan) -> None:
        """Raise OutOfReachError when a job waits for one that no agent has."""
        waited = {job for task in plan.tasks for job in task.needs}
        waited.update(job for gate in plan.gates for job in gate.jobs)
        for job, by in plan.alive.items():
            if job in waited and not isinstance(by, Agent):
                raise OutOfReachError(job, str(by or ""), "the local scheduler")

    def start(self, folder: str, limits: Limits) -> Words:
        """Return the call of ``run.sh``; the process lives as long as the jobs."""
        return ("bash", f"{folder}/{self.script}", *limits.words())

    def submitted(self, store: Store, submission: str) -> Submitted:
        """Return no ids: the agent has the jobs."""
        del store, submission
        return Submitted(ids=())

    def known(self, store: Store, submission: str) -> Working | None:
        """Return the submission while an agent works on it."""
        return Working(submission) if store.locked(submissions.agent_lock(submission)) else None

    def questions(self, known: Sequence[Known]) -> Sequence[Question[Answer]]:
        """Return none: locks and events, which are in the store, tell everything."""
        del known
        return ()

    def foreseen(self, store: Store) -> Sequence[Question[Answer]]:
        """Return none: nobody is asked."""
        del store
        return ()

    def joined(self, told: Sequence[Answer]) -> Answer:
        """Return an empty answer: nothing was asked."""
        del told
        return Answer(jobs={})

    def told(
        self, store: Store, known: Sequence[Known], answer: Answer
    ) -> Mapping[JobId, JobState]:
        """Return the jobs that agents hold in their queues or run."""
        found = dict(answer.jobs)
        for each in known:
            tasks = submissions.plan(store, each.submission).get("tasks", ())
            happened = submissions.events(store, each.submission)
            forced = {task["job"]: bool(task.get("forced")) for task in tasks}
            told = submissions.reported(each.submission, list(forced), happened)
            found |= {job: replace(said, forced=forced[job]) for job, said in told.items()}
        return found

    def ended(self, store: Store, submission: str) -> str | None:
        """Return how jobs without a marker ended, when the agent has said that it ends."""
        last = _last(store, submission)
        if last is None or not store.read(f"{submissions.FOLDER}/{submission}/{look.QUIET}"):
            return None
        return "".join(
            f"{job}\t{State.FAILED}\t{' '.join(why.split())}\n"
            for job, why in last.unmarked.items()
        )

    def remembered(self, store: Store) -> Mapping[JobId, JobState]:
        """Return the jobs that failed without a marker: they could not start."""
        ends = (_last(store, name) for name in submissions.ids(store))
        return {
            job: JobState(state=State.FAILED, reason=why)
            for last in ends
            if last is not None
            for job, why in last.unmarked.items()
        }

    def cancel(
        self,
        store: Store,
        known: Sequence[Known],
        answer: Answer,
        jobs: Collection[JobId] | None,
    ) -> Iterator[Order]:
        """Yield a signal to each agent that has some of the jobs, and a list of them."""
        del answer
        for each in known:
            tasks = submissions.plan(store, each.submission).get("tasks", ())
            own = [task["job"] for task in tasks if jobs is None or task["job"] in jobs]
            happened = submissions.events(store, each.submission)
            alive = submissions.reported(each.submission, own, happened)
            if not alive:
                continue
            words = "*\n" if len(own) == len(tasks) else "".join(f"{job}\n" for job in own)
            folder = f"{submissions.FOLDER}/{each.submission}"
            lock = submissions.agent_lock(each.submission)
            yield Order(
                send=Signal(lock=lock, argument=folder, number=signal.SIGHUP),
                jobs=len(alive),
                append=((f"{folder}/cancel", words),),
            )

    def logs(self, store: Store, job: JobId) -> list[str]:
        """Return the logs of agents that name a job: why it could not start, or waits."""
        logs = (f"{submissions.FOLDER}/{name}/agent.log" for name in submissions.ids(store))
        named = (f"repx: {job}: ", f"repx: {job} ")
        return [
            store.path(log)
            for log in logs
            if any(line.startswith(named) for line in (store.read_text(log) or "").splitlines())
        ]

    def asked(self, target: Target, resources: Resources) -> list[str]:
        """Return nothing: the agent reads ``plan.json``."""
        del target, resources
        return []

    def prologue(self, target: Target) -> Iterator[str]:
        """Yield nothing: jobs run in the environment of the agent."""
        del target
        yield from ()


def _last(store: Store, submission: str) -> Event | None:
    """Return the last event of an agent that has ended, None of one that may live."""
    said = store.read_text(f"{submissions.FOLDER}/{submission}/{look.LAST_EVENT}") or ""
    last = list(submissions.parse_events(said.splitlines()))
    return last[-1] if last and last[-1].kind == "agent-end" else None
