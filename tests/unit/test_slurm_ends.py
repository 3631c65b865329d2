"""How jobs in Slurm end, are tried again and get on, as the client sees it between two looks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from repx import seen
from repx.schedulers import queue
from repx.status import State
from tests.unit import test_slurm_client
from tests.unit.test_slurm_client import ALIVE, SUBMISSION, Answers, at

if TYPE_CHECKING:
    from repx.store import Store

store = test_slurm_client.store  # the same submission


def test_an_element_cancelled_by_hand_and_forgotten_has_ended(store: Store) -> None:
    """Slurm still has others of its array, so this one is over, not about to start."""
    run = Answers(squeue=ALIVE.replace("10|3|PENDING|0:00||Priority\n", ""))
    found = queue.reported(at(run, store))

    assert State.LOST is found["a3"].state
    assert "no longer in the queue (Slurm job 10_3)" == found["a3"].reason


def test_what_succeeds_between_two_looks_is_not_lost(store: Store) -> None:
    """The marker came after the look at markers, and before Slurm was asked."""
    run = Answers(squeue=ALIVE.replace("10|3|PENDING|0:00||", "10|3|COMPLETED|0:09||"))
    looked = seen.look(store, ["a3"])
    store.write("outputs/a3/repx/SUCCESS", b"{}")
    found = queue.reported(at(run, looked))

    assert State.SUCCEEDED is found["a3"].state


def test_what_has_ended_is_not_cancelled(store: Store) -> None:
    """COMPLETING: the node is cleaned up, the job is over."""
    run = Answers(squeue=ALIVE.replace("RUNNING", "COMPLETING").replace("PENDING", "COMPLETING"))

    assert {} == queue.cancel(at(run, store), None).asked
    assert [] == run.scancels()


def test_a_job_that_can_never_start_is_cancelled_with_the_rest(store: Store) -> None:
    """Some sites leave it in the queue."""
    never = "10|3|PENDING|0:00||DependencyNeverSatisfied\n"
    run = Answers(squeue=never)

    assert State.SKIPPED is queue.reported(at(run, store))["a3"].state
    assert {"slurm": 1} == queue.cancel(at(run, store), None).asked


def test_a_failed_job_that_is_submitted_again_counts_as_queued(store: Store) -> None:
    """For memory, which its retries name; a plain failure is over after its last attempt."""
    store.write(f"submissions/{SUBMISSION}/tries.tsv", b"1-a\t1\toom exit\n")
    store.append(f"submissions/{SUBMISSION}/submitted.tsv", b"1-a.again\t14\t1\n")
    behind = f"14|N/A|PENDING|0:00||Dependency|repx:{SUBMISSION}:1-a.again\n"
    ended = "10|0|OUT_OF_MEMORY|0:09||None\n10|3|FAILED|0:09||None\n"
    mark = f'{{"outcome":"fail","reason":"exit 1","attempt":2,"submission":"{SUBMISSION}"}}'
    store.write("outputs/a3/repx/FAIL", mark.encode())
    found = queue.reported(at(Answers(squeue=ended + behind), store))

    assert (State.QUEUED, "oom; Slurm job 14 submits it again") == (
        found["a0"].state,
        found["a0"].reason,
    )
    assert "14" == found["a0"].by.again  # type: ignore[union-attr]  # a Batch
    assert State.FAILED is found["a3"].state


def test_what_was_submitted_again_stands_for_what_failed(store: Store) -> None:
    store.write(f"submissions/{SUBMISSION}/tries.tsv", b"1-a\t2\toom\n")
    store.write(f"submissions/{SUBMISSION}/again/14.tsv", b"1-a\t30\t3\t2\t1\t31\n")
    said = "10|0|RUNNING|0:09|n1|None\n10|3|OUT_OF_MEMORY|0:09||None\n30|3|RUNNING|0:01|n1|None\n"
    run = Answers(squeue=said)
    found = queue.reported(at(run, store))
    asked = queue.cancel(at(run, store), ["a3"]).asked

    assert (State.RUNNING, "30_3") == (found["a3"].state, str(found["a3"].by))
    assert {"slurm": 1} == asked
    assert ["30_3"] == [call[-1] for call in run.scancels()]


def test_a_scatter_gather_job_says_how_far_it_is(store: Store) -> None:
    found = queue.reported(at(Answers(squeue=ALIVE), store))

    assert (State.RUNNING, "4 of 5 steps ended") == (found["sg"].state, found["sg"].reason)


def test_many_thousands_of_ids_are_asked_about_at_once(store: Store) -> None:
    """By user: the command line stays short, whatever was submitted."""
    lines = "".join(f"s{n}\t{1000 + n}\t1\n" for n in range(20_000)).encode()
    rows = "".join(f"s{n}\t-\tjobs\tj{n}\n" for n in range(20_000)).encode()
    for name in ("20260101-120001-aaaaaa", "20260101-120002-bbbbbb"):
        store.write(f"submissions/{name}/submitted.tsv", lines)
        store.write(f"submissions/{name}/arrays.tsv", rows)
    run = Answers(squeue=ALIVE)
    queue.reported(at(run, store))
    asked = [words for words in run.asked if words[0] == "squeue"]

    assert 2 == len(asked), "one for each of two clusters"
    assert max(len(" ".join(words)) for words in asked) < 500
