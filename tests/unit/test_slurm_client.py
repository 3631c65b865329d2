"""Slurm as the client sees it: one question about everything, one call to cancel."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pytest

from repx import engine
from repx import store as stores
from repx.errors import CommandNotFoundError, SchedulerError
from repx.places.command import Completed
from repx.places.here import Here
from repx.schedulers import queue
from repx.schedulers.contract import Limits
from repx.status import State
from repx.target import SchedulerName, Target

if TYPE_CHECKING:
    from repx.places import Question
    from repx.places.command import Run
    from repx.store import Store

T = TypeVar("T")
ALIVE = (
    "10|0|RUNNING|1:00|n1|None\n10|3|PENDING|0:00||Priority\n11|N/A|RUNNING|0:10|n2|None\n"
    "12|N/A|PENDING|0:00||Dependency\n20|1|RUNNING|0:10|n2|None\n13|N/A|RUNNING|0:10|n2|None\n"
)
SUBMISSION = "20260101-120000-abcdef"


class Answers:
    """A `command.run` that answers by the program's name and keeps what it was asked."""

    def __init__(self, **answers: str | Callable[[], Completed]) -> None:
        """Keep the answers, by program."""
        self.answers = answers
        self.asked: list[list[str]] = []

    def __call__(
        self,
        argv: Sequence[str],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        stdin: str | None = None,
        timeout_s: float = 60,
        check: bool = True,
    ) -> Completed:
        del cwd, env, stdin, timeout_s, check
        words = list(argv[4:] if argv[1] == "-c" else argv)  # behind what queue.ours puts first
        self.asked.append(words)
        answer = self.answers.get(Path(words[0]).name, "")
        if callable(answer):
            return answer()
        text = _commented(answer) if words[0] == "squeue" else answer
        return Completed(code=0, stdout=text, stderr="")

    def scancels(self) -> list[list[str]]:
        """Return the calls of scancel."""
        return [argv for argv in self.asked if argv[0] == "scancel"]


def _commented(lines: str) -> str:
    """Return squeue's lines with the comment of the submission's jobs, unless one has its own."""
    found = []
    for line in lines.splitlines():
        fields = line.split("|")
        if len(fields) == 6:  # none of its own
            fields.append(f"repx:{SUBMISSION}:?")
        found.append("|".join(fields))
    return "".join(f"{line}\n" for line in found)


class Faked(Here):
    """A machine with other answers."""

    def __init__(self, run: Run) -> None:
        """Keep what answers."""
        self.run = run

    def ask(self, questions: Sequence[Question[T]]) -> list[T]:
        """Return the answers to all questions."""
        return [question.read(self._answer(question.words)) for question in questions]

    def _answer(self, words: Sequence[str]) -> Completed:
        try:
            return self.run(words, check=False)
        except CommandNotFoundError as error:
            return Completed(code=127, stdout="", stderr=str(error))


def at(run: Run, store: Store) -> Store:
    """Return the store at a place where commands have other answers."""
    return replace(store, place=Faked(run))


def failing(code: int, stderr: str) -> Callable[[], Completed]:
    return lambda: Completed(code=code, stdout="", stderr=stderr)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store with one submission: an array, a scatter-gather job with steps, a bundle."""
    store = stores.local(str(tmp_path))
    folder = f"submissions/{SUBMISSION}"
    rows = ["1-a\t0\tjobs\ta0", "1-a\t3\tjobs\ta3", "2-s\t-\tscatter\tsg", "3-g\t-\tgather\tsg"]
    rows += ["4-b\t-\tbundle:0\tb0", "4-b\t-\tbundle:0\tb1"]
    store.write(f"{folder}/arrays.tsv", "\n".join([*rows, ""]).encode())
    store.write(f"{folder}/submitted.tsv", b"1-a\t10\t2\n2-s\t11\t1\n3-g\t12\t1\n4-b\t13;west\t2\n")
    store.write(f"{folder}/children/sg.tsv", b"0\t20\t0-4\n")
    return store


def test_one_squeue_tells_of_everything(store: Store) -> None:
    """Array elements, steps of a scatter-gather job, and jobs inside a bundle."""
    said = (
        "10|0|RUNNING|1:00|n1|None\n10|3|PENDING|0:00||Priority\n12|N/A|PENDING|0:00||Dependency\n"
    )
    said += "20|0-2|RUNNING|0:10|n2|None\n13|N/A|RUNNING|0:10|n2|None\n"
    run = Answers(squeue=said)
    found = queue.reported(at(run, store))

    assert 1 == len(run.asked)
    assert "--user=%ME" in run.asked[0], "short, however many ids there are"
    assert "--clusters=west" in run.asked[0]
    assert (State.RUNNING, "n1", "10_0") == (
        found["a0"].state,
        found["a0"].where,
        str(found["a0"].by),
    )
    assert (State.QUEUED, "Priority", "10_3") == (
        found["a3"].state,
        found["a3"].reason,
        str(found["a3"].by),
    )
    assert (State.RUNNING, "12") == (found["sg"].state, str(found["sg"].by))
    assert "bundle:13" == str(found["b1"].by)


@pytest.mark.parametrize(
    "answer",
    [failing(1, "slurm_load_jobs error: Unable to contact slurm controller"), None],
    ids=["controller away", "no squeue here"],
)
def test_silence_is_no_reason_to_start_anything_again(
    store: Store, answer: Callable[[], Completed] | None
) -> None:
    def absent() -> Completed:
        message = "`squeue` is not installed"
        raise CommandNotFoundError(message)

    found = queue.reported(at(Answers(squeue=answer or absent), store))

    assert {State.QUEUED} == {belief.state for belief in found.values()}
    assert {"a0", "a3", "sg", "b0", "b1"} == set(found)


def test_how_jobs_ended_is_remembered_when_slurm_has_forgotten(store: Store) -> None:
    """The first look after the end writes it down; later ones ask nothing."""
    said = "10|0|TIMEOUT|1:00|n1|None\n10|3|CANCELLED|0:00||DependencyNeverSatisfied\n"
    said += "".join(f"{id_}|N/A|FAILED|0:01|n1|None\n" for id_ in (11, 12, 13))
    first = queue.reported(at(Answers(squeue=said), store))
    run = Answers()
    later = queue.reported(at(run, store))

    assert [] == run.asked
    assert (State.FAILED, "timeout (Slurm job 10_0)") == (later["a0"].state, later["a0"].reason)
    assert State.SKIPPED is later["a3"].state
    assert first["a0"].reason == later["a0"].reason


def test_one_look_in_vain_closes_no_submission_for_ever(store: Store) -> None:
    """A controller that lost its state, or another cluster of the same name, knows no id."""
    lost = queue.reported(at(Answers(squeue=""), store))
    again = queue.reported(at(Answers(squeue=ALIVE), store))

    assert {State.LOST} == {state.state for state in lost.values()}
    assert "Slurm no longer knows it" in lost["a0"].reason
    assert State.RUNNING is again["a0"].state


def test_a_look_from_another_cluster_says_which_one_has_the_jobs(store: Store) -> None:
    folder = f"submissions/{SUBMISSION}"
    store.write(f"{folder}/submitted.tsv", b"1-a\t10\t2\n")
    store.write(f"{folder}/cluster", b"north\tme\t\n")
    run = Answers(squeue="", scontrol="ClusterName = south\n")
    found = queue.reported(at(run, store))

    assert State.QUEUED is found["a0"].state
    assert "cluster north has it" in found["a0"].reason
    assert "--user=me" in run.asked[0]


@pytest.mark.parametrize(
    ("private", "who", "state"),
    [
        ("jobs,usage", "you", State.QUEUED),
        ("jobs", "me", State.LOST),
        ("jobs", "root", State.LOST),
        ("none", "you", State.LOST),
    ],
)
def test_jobs_that_slurm_hides_from_who_looks_are_not_lost(
    store: Store, private: str, who: str, state: State
) -> None:
    folder = f"submissions/{SUBMISSION}"
    store.write(f"{folder}/cluster", b"north\tme\t\n")
    config = f"ClusterName = north\nPrivateData             = {private}\n"
    run = Answers(squeue="", scontrol=config, id=f"{who}\n")
    found = queue.reported(at(run, store))

    assert state is found["a0"].state
    assert ("user me has it" in found["a0"].reason) == (state is State.QUEUED)


def test_a_suspended_job_says_so(store: Store) -> None:
    run = Answers(squeue="10|0|SUSPENDED|1:00|n1|None\n10|3|RUNNING|1:00|n1|None\n")
    found = queue.reported(at(run, store))

    assert (State.RUNNING, "suspended") == (found["a0"].state, found["a0"].reason)
    assert "" == found["a3"].reason


def test_an_id_that_another_job_has_by_now_is_not_ours(store: Store) -> None:
    theirs = "10|0|RUNNING|1:00|n1|None|(null)\n10|3|RUNNING|1:00|n1|None|repx:another:1-a\n"
    run = Answers(squeue=theirs)
    found = queue.reported(at(run, store))
    queue.cancel(at(run, store), None)

    assert State.LOST is found["a0"].state
    assert [] == run.scancels()


def test_a_job_whose_id_was_never_written_down_is_found_and_cancelled(store: Store) -> None:
    """submit.sh was killed between the controller's answer and its own note."""
    store.write(f"submissions/{SUBMISSION}/submitted.tsv", b"")
    run = Answers(squeue=f"77|0|RUNNING|1:00|n1|None|repx:{SUBMISSION}:1-a\n")
    found = queue.reported(at(run, store))
    queue.cancel(at(run, store), ["a0"])

    assert (State.RUNNING, "77_0") == (found["a0"].state, str(found["a0"].by))
    assert [["scancel", "77_0"]] == run.scancels()


def test_nothing_is_cancelled_blindly_while_slurm_is_silent(store: Store) -> None:
    away = failing(1, "slurm_load_jobs error: Unable to contact slurm controller")
    run = Answers(squeue=away)
    done = queue.cancel(at(run, store), None, sleep=lambda _seconds: None)

    assert [] == run.scancels()
    assert 3 == len([argv for argv in run.asked if argv[0] == "squeue"])
    assert "Slurm does not answer" in str(done.errors[0])


def test_what_is_submitted_after_the_end_was_seen_is_asked_about(store: Store) -> None:
    """A look between two calls of sbatch, when all submitted so far has ended."""
    queue.reported(at(Answers(squeue=""), store))
    folder = f"submissions/{SUBMISSION}"
    before = (store.read_text(f"{folder}/submitted.tsv") or "").replace("1-a\t10\t2\n", "")
    store.write(f"{folder}/submitted.tsv", f"{before}1-a\t99\t2\nmore\t100\t1\n".encode())
    found = queue.reported(at(Answers(squeue="99|0-3|PENDING|0:00||Priority\n"), store))

    assert State.QUEUED is found["a0"].state


def test_accounting_fills_in_what_the_queue_has_forgotten(store: Store) -> None:
    run = Answers(squeue="", sacct="10_0|OUT_OF_MEMORY|00:01:00|n1\n")
    found = queue.reported(at(run, store))

    assert "out of memory (Slurm job 10_0)" == found["a0"].reason
    assert "--starttime=2025-12-31" in run.asked[1], "its date is UTC's, sacct's the place's"


def test_elements_that_the_queue_has_forgotten_before_others_are_asked_about(store: Store) -> None:
    """Slurm forgets the elements of an array one by one."""
    accounted = "10_0|OUT_OF_MEMORY|00:01:00|n1\n10_3|FAILED|00:00:10|n1\n"
    run = Answers(squeue="10|3|TIMEOUT|1:00|n1|TimeLimit\n", sacct=accounted)
    found = queue.reported(at(run, store))

    assert "out of memory (Slurm job 10_0)" == found["a0"].reason
    assert "timeout (Slurm job 10_3)" == found["a3"].reason


def test_what_accounting_still_takes_for_alive_is_not(store: Store) -> None:
    """The controller knows it no more, and accounting was never told of the end."""
    found = queue.reported(at(Answers(squeue="", sacct="10_0|RUNNING|00:01:00|n1\n"), store))

    assert State.LOST is found["a0"].state


def test_accounting_is_asked_for_the_cluster_that_was_submitted_to(store: Store) -> None:
    folder = f"submissions/{SUBMISSION}"
    store.write(f"{folder}/submitted.tsv", b"1-a\t10;far\t2\n")
    run = Answers(squeue="", sacct="")
    queue.reported(at(run, store))

    assert ["--clusters=far"] * 2 == [
        word for argv in run.asked for word in argv if word.startswith("--clusters")
    ]


def test_what_a_limit_kept_from_being_submitted_says_where_to_look(store: Store) -> None:
    folder = f"submissions/{SUBMISSION}"
    store.write(f"{folder}/submitted.tsv", b"continue\t10\t0\n")
    store.write(f"{folder}/logs/continue.out", b"error: Slurm refused sbatch/1-a.sh\n")
    found = queue.reported(at(Answers(squeue="10|N/A|FAILED|0:01|n1|NonZeroExitCode\n"), store))

    assert State.LOST is found["a0"].state
    assert found["a0"].reason.startswith("not submitted (Slurm job continue; see ")


def test_the_jobs_own_log_tells_more_than_the_queue(store: Store) -> None:
    folder = f"submissions/{SUBMISSION}/logs"
    store.write(
        f"{folder}/10_0.out", b"slurmstepd: error: *** JOB 10 CANCELLED DUE TO TIME LIMIT\n"
    )
    store.write(f"{folder}/10_3.out", b"repx: skipped, since this job did not succeed: b1\n")
    said = "10|0|FAILED|1:00|n1|NonZeroExitCode\n10|3|FAILED|0:01|n1|NonZeroExitCode\n"
    found = queue.reported(at(Answers(squeue=said), store))

    assert found["a0"].reason.startswith("timeout (Slurm job 10_0; see ")
    assert (State.SKIPPED, "b1") == (found["a3"].state, found["a3"].reason)


def test_cancelling_everything_is_one_call(store: Store) -> None:
    run = Answers(squeue=ALIVE)
    asked = queue.cancel(at(run, store), None).asked

    assert {"slurm": 6} == asked

    assert [["scancel", "--clusters=west", "10", "11", "12", "13", "20"]] == run.scancels()


def test_cancelling_some_takes_elements_steps_and_whole_arrays(store: Store) -> None:
    run = Answers(squeue=ALIVE)
    queue.cancel(at(run, store), ["a3", "sg"])

    assert [["scancel", "--clusters=west", "10_3", "11", "12", "20"]] == run.scancels()


def test_a_job_inside_a_bundle_is_cancelled_by_its_own_scheduler(store: Store) -> None:
    run = Answers(squeue=ALIVE)
    queue.cancel(at(run, store), ["b1"])

    assert [["scancel", "--clusters=west", "--batch", "--signal=HUP", "13"]] == run.scancels()
    assert "b1\n" == store.read_text(f"submissions/{SUBMISSION}/bundles/0/cancel")


def test_a_running_bundle_tells_of_its_own_jobs(store: Store) -> None:
    """What happened before it was requeued counts no more."""
    events = [
        '{"t":1,"e":"agent-start","pid":1}',
        '{"t":2,"e":"end","job":"b0","phase":null,"ok":false,"reason":"timeout"}',
        '{"t":3,"e":"agent-start","pid":2}',
        '{"t":4,"e":"start","job":"b0","phase":null,"attempt":1}',
    ]
    folder = f"submissions/{SUBMISSION}/bundles/0"
    store.write(f"{folder}/events.jsonl", "\n".join([*events, ""]).encode())
    run = Answers(squeue="13|N/A|RUNNING|0:10|n2|None\n")
    found = queue.reported(at(run, store))

    assert (State.RUNNING, "n2", 4) == (found["b0"].state, found["b0"].where, found["b0"].since)
    assert (State.QUEUED, "bundle:13") == (found["b1"].state, str(found["b1"].by))


def test_a_scatter_whose_gather_was_never_submitted_says_what_to_do(store: Store) -> None:
    store.write(f"submissions/{SUBMISSION}/submitted.tsv", b"1-a\t10\t2\n2-s\t11\t1\n")
    found = queue.reported(at(Answers(squeue="11|N/A|PENDING|0:00||JobHeldUser\n"), store))

    assert "its submit.sh continues" in found["sg"].reason


def test_a_withdrawn_call_waits_for_the_job_that_submits_the_rest(store: Store) -> None:
    folder = f"submissions/{SUBMISSION}"
    before = store.read_text(f"{folder}/submitted.tsv") or ""
    lines = f"{before}1-a\t-\tcancelled\ncontinue\t30\t0\n"
    store.write(f"{folder}/submitted.tsv", lines.encode())
    found = queue.reported(at(Answers(squeue="30|N/A|PENDING|0:00||BeginTime\n"), store))

    assert State.QUEUED is found["a0"].state
    assert "Slurm job 30 submits it" in found["a0"].reason


def test_a_refusal_shows_what_slurm_said_and_what_to_do(store: Store) -> None:
    stderr = "sbatch: error: invalid partition\nerror: Slurm refused x\n\nhint: correct it\n"

    target = Target(name="c", base_path=store.root, scheduler=SchedulerName.SLURM)

    with pytest.raises(SchedulerError, match="invalid partition") as caught:
        engine.start(at(Answers(bash=failing(3, stderr)), store), target, SUBMISSION, Limits())
    assert "correct it" == caught.value.hint
