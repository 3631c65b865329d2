"""A batch system without job arrays, spoken to as a dialect file says (docs/dialects.md).

One batch job per job of the plan. The batch system only orders them: each waits for the end of
what it needs, however that ends, and then looks at the markers itself.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import re
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

from repx import submissions
from repx.config import units
from repx.errors import InputError, OutOfReachError, StorageError
from repx.model import DependencyType
from repx.places import Question
from repx.schedulers import kept_dialect
from repx.schedulers.contract import Answer, Folder, Limits, Order, Submitted, Words
from repx.schedulers.numbers import number
from repx.status import ALIVE, Batch, JobState, State
from repx.target import Dialect, SchedulerName

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from repx.model import JobId, Lab
    from repx.places.command import Completed
    from repx.plan import Plan, Task
    from repx.render import RenderedFile
    from repx.schedulers import contract
    from repx.store import Store
    from repx.target import Resources, Target

log = logging.getLogger(__name__)

DIALECT: Final = "dialect.json"
_TABLE: Final = "batch.tsv"
_IDS: Final = "ids.tsv"
_ENDED: Final = "ended"
_SCRIPT: Final = 0o755
_TEXT: Final = 0o644
_IDS_PER_CALL: Final = 500
_STATES: Final = {"queued": State.QUEUED, "running": State.RUNNING}


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What a submission folder tells: the dialect, the number of each job, and the ids so far."""

    submission: str
    dialect: Dialect
    numbers: Mapping[JobId, str]
    ids: Mapping[JobId, str]
    forced: frozenset[JobId] = frozenset()


@dataclass(frozen=True, slots=True)
class DialectScheduler:
    """Jobs wait and run in a batch system that the target's dialect file describes."""

    dialect: Dialect | None = None
    script: str = "submit.sh"
    attended: bool = False

    @property
    def name(self) -> str:
        """Return the name that the dialect file gives."""
        return self.dialect.name if self.dialect else SchedulerName.DIALECT.value

    @property
    def tools(self) -> Mapping[str, str]:
        """Return the programs that the dialect file names; that they are there has to do."""
        if self.dialect is None:
            return {}
        commands = (self.dialect.submit, self.dialect.query, self.dialect.cancel)
        return {words[0]: "true" for words in commands}

    def ask_site(self, target: Target) -> None:
        """Return None: the dialect file says everything."""
        del target

    def files(self, plan: Plan, lab: Lab, target: Target, folder: Folder) -> Iterator[RenderedFile]:
        """Yield ``submit.sh``, one script per job, and the dialect for whoever looks later."""
        del lab
        return _files(self._own(target), plan, target, folder.submission)

    def _own(self, target: Target) -> Dialect:
        dialect = self.dialect or target.dialect
        if dialect is None:
            message = f"target '{target.name}' names no dialect file"
            raise InputError(message, hint="write `scheduler: {dialect: FILE}`")
        return dialect

    def check(self, plan: Plan) -> None:
        """Raise OutOfReachError when a job waits for one that is not in this batch system."""
        waited = {job for task in plan.tasks for job in task.needs}
        waited.update(job for gate in plan.gates for job in gate.jobs)
        for job, by in plan.alive.items():
            if job in waited and not (isinstance(by, Batch) and by.system == self.name):
                raise OutOfReachError(job, str(by or ""), self.name)

    def start(self, folder: str, limits: Limits) -> Words:
        """Return the call of ``submit.sh``, which has no options."""
        del limits
        return ("bash", f"{folder}/{self.script}")

    def submitted(self, store: Store, submission: str) -> Submitted:
        """Return the ids of all batch jobs."""
        known = _read(store, submission)
        return Submitted(ids=tuple(known.ids.values()) if known else ())

    def known(self, store: Store, submission: str) -> Known | None:
        """Return the tables of a submission that nobody has seen end."""
        known = _read(store, submission)
        return known if known and _ended_record(store, known) is None else None

    def questions(self, known: Sequence[contract.Known]) -> Sequence[Question[Answer]]:
        """Return one query for each batch system."""
        by_dialect: dict[str, list[Known]] = {}
        for each in cast("Sequence[Known]", known):
            by_dialect.setdefault(each.dialect.name, []).append(each)
        return tuple(_question(ours) for ours in by_dialect.values())

    def foreseen(self, store: Store) -> Sequence[Question[Answer]]:
        """Return the query of the target's own batch system."""
        if store.dialect is None:
            return ()
        return (Question(store.dialect.query, lambda _: Answer(jobs={})),)

    def joined(self, told: Sequence[Answer]) -> Answer:
        """Return the answers of all batch systems as one."""
        jobs = {job: state for each in told for job, state in each.jobs.items()}
        return Answer(jobs=jobs, ended=frozenset().union(*(each.ended for each in told)))

    def told(
        self, store: Store, known: Sequence[contract.Known], answer: Answer
    ) -> Mapping[JobId, JobState]:
        """Return the states; what the batch system no longer lists is lost, unless it is marked."""
        found = dict(answer.jobs)
        for each in cast("Sequence[Known]", known):
            if each.submission in answer.ended:
                _write_down(store, each)
        return found | _ends(store, known, [job for job in found if found[job].state not in ALIVE])

    def ended(self, store: Store, submission: str) -> str | None:
        """Return what was written down when nothing of a submission was alive any more."""
        known = _read(store, submission)
        return _ended_record(store, known) if known else None

    def remembered(self, store: Store) -> Mapping[JobId, JobState]:
        """Return nothing: what has no marker is asked about until it has ended for certain."""
        del store
        return {}

    def cancel(
        self,
        store: Store,
        known: Sequence[contract.Known],
        answer: Answer,
        jobs: Collection[JobId] | None,
    ) -> Iterator[Order]:
        """Yield calls that end the jobs that the batch system lists."""
        del store
        for each in cast("Sequence[Known]", known):
            meant = [
                id_
                for job, id_ in each.ids.items()
                if (jobs is None or job in jobs)
                and (state := answer.jobs.get(job)) is not None
                and state.state in ALIVE
                and state.by is not None
            ]
            for start in range(0, len(meant), _IDS_PER_CALL):
                some = meant[start : start + _IDS_PER_CALL]
                yield Order(send=(*each.dialect.cancel, *some), jobs=len(some))

    def logs(self, store: Store, job: JobId) -> list[str]:
        """Return what the batch system wrote of a job, newest last."""
        found = []
        for submission in submissions.ids(store):
            known = _read(store, submission)
            number = known.numbers.get(job) if known else None
            key = f"{submissions.FOLDER}/{submission}/logs/{number}.out"
            if number and store.exists(key):
                found.append(store.path(key))
        return found

    def asked(self, target: Target, resources: Resources) -> list[str]:
        """Return the words that ask for the resources."""
        return list(_resource_words(self._own(target), resources))

    def prologue(self, target: Target) -> Iterator[str]:
        """Yield nothing: a site's own template has a block for it."""
        del target
        yield from ()


# --- files -------------------------------------------------------------------------------------


def _files(dialect: Dialect, plan: Plan, target: Target, submission: str) -> Iterator[RenderedFile]:
    from repx import render  # jinja2 costs 70 ms where nothing is to be rendered

    made = render.environment(target.templates)
    common: dict[str, object] = {
        "system": dialect.name,
        "submission": submission,
        "store": target.base_path,
    }
    numbers = {task.job.id: str(number) for number, task in enumerate(plan.tasks, start=1)}
    known = {job: str(by) for job, by in plan.alive.items() if by is not None}

    def file(path: str, text: str, mode: int = _TEXT) -> RenderedFile:
        return render.RenderedFile(path=path, text=text, mode=mode)

    hard = {
        number: f"gates/{number}.list"
        for number, gate in enumerate(plan.gates)
        if gate.type is DependencyType.HARD
    }
    for gate, path in hard.items():
        yield file(path, "".join(f"{job}\n" for job in plan.gates[gate].jobs))
    for task in plan.tasks:
        text = render.fill(
            made,
            "dialect-job.sh.j2",
            **common,
            grace_s=target.input_wait_s,
            job=task.job.id,
            needs=render.Raw(" ".join(map(render.quote, task.needs))),
            lists=[hard[number] for number in task.gates if number in hard],
        )
        yield file(f"batch/{numbers[task.job.id]}.sh", text, _SCRIPT)
    calls = [
        render.Raw(" ".join(map(render.quote, _call(dialect, plan, task, numbers, known))))
        for task in plan.tasks
    ]
    text = render.fill(
        made,
        "dialect-submit.sh.j2",
        **common,
        jobs=len(plan.tasks),
        after=render.Raw(" ".join(map(render.quote, dialect.after))),
        join=dialect.join,
        id_pattern=dialect.id_pattern,
        calls=calls,
    )
    yield file("submit.sh", text, _SCRIPT)
    yield file(_TABLE, "".join(f"{number}\t{job}\n" for job, number in numbers.items()))
    forced = "".join(f"{task.job.id}\n" for task in plan.tasks if task.forced)
    if forced:
        yield file("forced", forced)
    yield file(DIALECT, kept_dialect.text(dialect))


def _call(
    dialect: Dialect,
    plan: Plan,
    task: Task,
    numbers: Mapping[JobId, str],
    known: Mapping[JobId, str],
) -> tuple[str, ...]:
    """Return the arguments of ``submit`` for one job: id, number, what it waits for, words."""
    waited = dict.fromkeys((*task.needs, *(job for n in task.gates for job in plan.gates[n].jobs)))
    needs = " ".join(known.get(job, job) for job in waited if job in numbers or job in known)
    number = numbers[task.job.id]
    given = {"log": f"logs/{number}.out", "name": f"repx-{number}"}
    words = (_filled(word, given) for word in dialect.submit)
    asked = _asked_by(task)
    return (task.job.id, number, needs, *words, *_resource_words(dialect, asked))


def _asked_by(task: Task) -> Resources:
    """Return what all phases of a job need, since one batch job runs them all."""
    each = [unit.resources for unit in task.units]
    times = [asked.time_s for asked in each]
    return dataclasses.replace(
        each[0],
        cpus=max(asked.cpus or 1 for asked in each) if any(a.cpus for a in each) else None,
        mem_bytes=max((asked.memory or 0 for asked in each), default=0) or None,
        time_s=None if len(times) > 1 else times[0],
    )


def _resource_words(dialect: Dialect, asked: Resources) -> Iterator[str]:
    mem_mib = -(-asked.memory // 1024**2) if asked.memory else None
    time = units.slurm_time(asked.time_s) if asked.time_s else None
    given = {
        "cpus": asked.cpus,
        "mem_mib": mem_mib,
        "time_s": asked.time_s,
        "time": time,
        "partition": asked.partition,
    }
    values = {name: str(value) for name, value in given.items() if value is not None}
    wanted = {"cpus": "cpus", "mem": "mem_mib", "time": "time_s", "partition": "partition"}
    for name, words in dialect.resources.items():
        if wanted[name] in values:
            yield from (_filled(word, values) for word in words)


def _filled(word: str, values: Mapping[str, str]) -> str:
    for name, value in values.items():
        word = word.replace(f"{{{name}}}", value)
    return word


# --- what a folder and the batch system tell -----------------------------------------------------


def _read(store: Store, submission: str) -> Known | None:
    """Return what a folder tells; None where it was not submitted, or to another scheduler."""
    where = f"{submissions.FOLDER}/{submission}"
    keys = {name: f"{where}/{name}" for name in (DIALECT, _TABLE, _IDS, "forced")}
    found = store.read_many([keys[DIALECT]])
    if not found:
        return None
    found |= store.read_many(list(keys.values()))
    text = {name: found.get(key, b"").decode(errors="replace") for name, key in keys.items()}
    try:
        dialect = kept_dialect.read(text[DIALECT])
    except ValueError:
        log.warning("cannot read %s; passed over", store.path(keys[DIALECT]))
        return None
    if keys[_IDS] not in found:
        return None
    rows, ids = (kept_dialect.pairs(store.path(keys[each]), text[each]) for each in (_TABLE, _IDS))
    return Known(
        submission=submission,
        dialect=dialect,
        numbers={job: count for count, job in rows},
        ids=dict(ids),
        forced=frozenset(text["forced"].splitlines()),
    )


def _question(known: Sequence[Known]) -> Question[Answer]:
    dialect = known[0].dialect
    return Question(dialect.query, lambda said: read(known, said))


def read(known: Sequence[Known], said: Completed) -> Answer:
    """Return what the batch system lists; where it did not answer, every job is taken as queued."""
    dialect = known[0].dialect
    listed = parse(dialect, said)
    if listed is None:
        log.warning(
            "%s does not answer; what was submitted is taken as queued: %s",
            dialect.name,
            said.stderr.strip(),
        )
    found: dict[JobId, JobState] = {}
    over = set()
    for each in known:
        states = {job: _state(each, job, id_, listed) for job, id_ in each.ids.items()}
        found |= states
        if not any(state.state in ALIVE for state in states.values()):
            over.add(each.submission)
    return Answer(jobs=found, ended=frozenset(over))


def parse(dialect: Dialect, said: Completed) -> dict[str, State | None] | None:
    """Return the state of each listed id (None: ended), or None when there was no answer."""
    if said.code != 0:
        none = dialect.none_pattern
        return {} if none and re.search(none, said.stdout + said.stderr) else None
    found: dict[str, State | None] = {}
    for line in said.stdout.splitlines():
        if match := re.search(dialect.job_pattern, line):
            word = match["state"]
            if word not in dialect.states:
                log.warning("%s: state '%s' is unknown; taken as queued", dialect.name, word)
            found[match["id"]] = _STATES.get(dialect.states.get(word, "queued"))
    return found


def _state(
    known: Known, job: JobId, id_: str, listed: Mapping[str, State | None] | None
) -> JobState:
    by = Batch(system=known.dialect.name, id=id_)
    forced = job in known.forced
    if listed is None:
        reason = f"submitted; {known.dialect.name} does not answer now"
        return JobState(state=State.QUEUED, reason=reason, by=by, forced=forced)
    state = listed.get(id_)
    if state is None:
        return JobState(state=State.LOST, reason=_UNMARKED, by=by)
    return JobState(state=state, by=by, forced=forced)


_UNMARKED: Final = "ended without a marker"
_SKIP: Final = "repx: skipped, since this job did not succeed: "


def _ends(
    store: Store, known: Sequence[contract.Known], ended: Collection[JobId]
) -> dict[JobId, JobState]:
    """Return the states of jobs that have ended: what the logs say of those without a marker."""
    marked = store.markers(ended)
    logs = {
        f"{submissions.FOLDER}/{each.submission}/logs/{each.numbers[job]}.out": job
        for each in cast("Sequence[Known]", known)
        for job in ended
        if job in each.numbers and job not in marked
    }
    found = dict.fromkeys(ended, JobState(state=State.LOST, reason=_UNMARKED))
    for key, content in store.read_many(list(logs)).items():
        said = content.decode(errors="replace")
        if _SKIP in said:
            culprit = said.rpartition(_SKIP)[2].partition("\n")[0]
            found[logs[key]] = JobState(state=State.SKIPPED, reason=culprit)
        elif said:
            reason = f"{_UNMARKED}; see {store.path(key)}"
            found[logs[key]] = JobState(state=State.LOST, reason=reason)
    return found


_LOOK_AGAIN_S: Final = 600


def _write_down(store: Store, known: Known) -> None:
    """Note that nothing of a submission is listed; after a second look, later, it is closed.

    At once where every job has left a marker.
    """
    key = f"{submissions.FOLDER}/{known.submission}/{_ENDED}"
    first, _, host = (store.read_text(key) or "").partition(" ")
    seen = number(first)
    here = os.uname().nodename
    with suppress(StorageError):  # looking needs no right to write
        if known.numbers.keys() <= store.markers(known.numbers).keys():
            store.write(key, f"{len(known.ids)} closed".encode())
        elif host != here or seen is None:
            store.write(key, f"{int(time.time())} {here}".encode())
        elif time.time() - seen > _LOOK_AGAIN_S:
            store.write(key, f"{len(known.ids)} closed".encode())


def _ended_record(store: Store, known: Known) -> str | None:
    """Return "" when a submission was closed and nothing was submitted since, else None."""
    text = store.read_text(f"{submissions.FOLDER}/{known.submission}/{_ENDED}")
    return "" if text == f"{len(known.ids)} closed" else None
