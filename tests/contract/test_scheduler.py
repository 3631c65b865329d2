"""What every scheduler must do. A new member adds its `Case` and passes the rest unchanged."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

import pytest

from repx import schedulers
from repx import store as stores
from repx.errors import OutOfReachError
from repx.model import Executable, Job, StageType
from repx.places.command import Completed
from repx.plan import Plan, Task
from repx.schedulers.contract import Answer, Folder, Limits
from repx.status import ALIVE, Agent, Batch, ByHand, Owner
from repx.target import Dialect, SchedulerName, Target
from tests.made import made_lab, made_units

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from repx.schedulers.contract import Known, Scheduler
    from repx.store import Store

SUBMISSION = "20260101-120000-abcdef"
JOBS = ("a-1.0", "b-1.0")


@dataclass(frozen=True)
class Case:
    """A member's target; ``live`` makes a folder whose jobs are alive as ``answer`` says.

    Jobs of ``foreign`` owners are out of the member's reach.
    """

    target: Target
    live: Callable[[Store], AbstractContextManager[None]]
    answer: str
    foreign: tuple[Owner, ...]


def _write(store: Store, **files: str) -> None:
    for name, text in files.items():
        store.write(f"submissions/{SUBMISSION}/{name.replace('__', '.')}", text.encode())


PLAN_JSON = '{"tasks":[{"job":"a-1.0","gates":[]},{"job":"b-1.0","gates":[]}],"gates":[]}'


@contextmanager
def _local(store: Store) -> Iterator[None]:
    start = '{"t":1.0,"e":"start","job":"a-1.0","phase":null}\n'
    _write(
        store,
        plan__json=PLAN_JSON,
        agent__lock=f"{os.uname().nodename} {os.getpid()}\n",
        events__jsonl=start,
    )
    with open(store.path(f"submissions/{SUBMISSION}/agent.lock")) as lock:  # noqa: PTH123
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def _slurm(store: Store) -> Iterator[None]:
    rows = "".join(f"1-x\t{index}\tjobs\t{job}\n" for index, job in enumerate(JOBS))
    _write(store, plan__json=PLAN_JSON, arrays__tsv=rows, submitted__tsv="1-x\t10\t2\n")
    yield


DIALECT = Dialect(
    name="sge",
    submit=("qsub", "-o", "{log}"),
    id_pattern="([0-9]+)",
    after=("-hold_jid", "{ids}"),
    query=("qstat",),
    job_pattern=r"^(?P<id>\d+) (?P<state>\w+)",
    states={"qw": "queued", "r": "running"},
    cancel=("qdel",),
)


@contextmanager
def _dialect(store: Store) -> Iterator[None]:
    rows = "".join(f"{number}\t{job}\n" for number, job in enumerate(JOBS))
    ids = "".join(f"{job}\t{number}\n" for number, job in enumerate(JOBS, start=10))
    spoken = json.dumps(asdict(DIALECT))
    _write(store, plan__json=PLAN_JSON, batch__tsv=rows, ids__tsv=ids, dialect__json=spoken)
    yield


CASES = {
    SchedulerName.LOCAL: Case(
        Target(name="t", base_path="/s"),
        _local,
        "",
        (ByHand("n1", 7), Batch(system="slurm", id="7")),
    ),
    SchedulerName.SLURM: Case(
        Target(name="t", base_path="/s", scheduler=SchedulerName.SLURM),
        _slurm,
        f"10|0|RUNNING|1:00|n1|None|repx:{SUBMISSION}:1-x\n"
        f"10|1|PENDING|0:00||Priority|repx:{SUBMISSION}:1-x\n",
        (ByHand("n1", 7), Batch(system="another", id="7"), Agent("s9")),
    ),
    SchedulerName.DIALECT: Case(
        Target(name="t", base_path="/s", scheduler=SchedulerName.DIALECT, dialect=DIALECT),
        _dialect,
        "job state\n10 r\n11 qw\n",
        (ByHand("n1", 7), Batch(system="slurm", id="7"), Agent("s9")),
    ),
}


@pytest.fixture(params=SchedulerName, ids=str)
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


@pytest.fixture
def member(case: Case) -> Scheduler:
    return schedulers.of(case.target)


@pytest.fixture
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return stores.local(str(tmp_path_factory.mktemp("store")))


@pytest.fixture
def known(case: Case, member: Scheduler, store: Store) -> Iterator[Sequence[Known]]:
    """What the member knows of a folder whose jobs are alive."""
    with case.live(store):
        found = member.known(store, SUBMISSION)
        assert found is not None
        yield (found,)


def _plan(**alive: Owner) -> Plan:
    def task(name: str, needs: tuple[str, ...]) -> Task:
        job = Job(
            id=name,
            name=name,
            stage_type=StageType.SIMPLE,
            params={},
            executables={"main": Executable(path=f"bin/{name}")},
        )
        return Task(job=job, run="r", reason="", units=made_units(job), needs=needs)

    first = task("a-1.0", tuple(alive))
    return Plan(tasks=(first, task("b-1.0", ("a-1.0",))), alive=alive)


def _answer(
    member: Scheduler, case: Case, known: Sequence[Known], *, silent: bool = False
) -> Answer:
    code, text = (124, "") if silent else (0, case.answer)
    said = Completed(code=code, stdout=text, stderr="")
    return member.joined([question.read(said) for question in member.questions(known)])


def test_the_table_has_every_name_that_a_profile_may_say() -> None:
    assert set(SchedulerName) == set(schedulers.MEMBERS) == set(CASES)


@pytest.mark.slow
def test_files_are_the_same_each_time_and_their_script_is_bash(
    member: Scheduler, case: Case
) -> None:
    lab = made_lab(runs={}, jobs={})
    made, again = (
        {
            file.path: file
            for file in member.files(_plan(), lab, case.target, Folder(submission=SUBMISSION))
        }
        for _ in range(2)
    )

    assert made == again
    assert made[member.script].mode & 0o111
    subprocess.run(["bash", "-n"], input=made[member.script].text, text=True, check=True)
    assert ("bash", f"/f/{member.script}") == member.start("/f", Limits())[:2]


def test_jobs_that_are_alive_have_owners_that_the_member_can_wait_for(
    member: Scheduler, case: Case, store: Store, known: Sequence[Known]
) -> None:
    found = member.told(store, known, _answer(member, case, known))

    assert set(JOBS) == set(found)
    assert all(each.state in ALIVE for each in found.values())
    owner = found["a-1.0"].by
    assert owner is not None
    member.check(_plan(c=owner))


def test_what_another_one_has_cannot_be_waited_for(member: Scheduler, case: Case) -> None:
    for owner in case.foreign:
        with pytest.raises(OutOfReachError):
            member.check(_plan(c=owner))


def test_silence_is_no_reason_to_take_a_job_for_ended(
    member: Scheduler, case: Case, store: Store, known: Sequence[Known]
) -> None:
    found = member.told(store, known, _answer(member, case, known, silent=True))

    assert set(JOBS) == set(found)
    assert all(each.state in ALIVE for each in found.values())


def test_a_folder_that_was_never_started_has_no_live_job(member: Scheduler, store: Store) -> None:
    _write(store, plan__json=PLAN_JSON)

    assert member.known(store, SUBMISSION) is None


def test_nothing_is_sent_for_jobs_that_are_not_there(
    member: Scheduler, case: Case, store: Store, known: Sequence[Known]
) -> None:
    answer = _answer(member, case, known)

    assert [] == list(member.cancel(store, known, answer, {"unknown-1.0"}))
    assert [] != list(member.cancel(store, known, answer, set(JOBS)))
    assert [] != list(member.cancel(store, known, answer, None))


def test_nothing_has_been_said_of_an_unknown_job(
    member: Scheduler, store: Store, known: Sequence[Known]
) -> None:
    assert known
    assert [] == member.logs(store, "unknown-1.0")


def test_frozen_targets_may_be_shared(case: Case) -> None:
    assert schedulers.of(case.target) == schedulers.of(replace(case.target, name="other"))
