"""What Slurm answers is understood, on recorded answers of a real one."""

from __future__ import annotations

import getpass
import logging
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repx.schedulers.slurm import queue
from repx.schedulers.slurm.queue import Entry
from repx.status import State

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMENT = "repx:20260101-120000-abcdef:2-b"
DATA = Path(__file__).parent / "data"


def test_recorded_answer_is_understood() -> None:
    entries = queue.parse_squeue(0, (DATA / "squeue-22.05-ended.txt").read_text(), "")

    assert entries is not None
    running = Entry(word="RUNNING", state=State.RUNNING, elapsed_s=3, node="n2", comment=COMMENT)
    assert running == entries["2", 2]
    assert State.SKIPPED is entries["2", 1].state
    assert State.FAILED is entries["1", 1].state
    assert State.LOST is entries["1", 0].state
    assert "BeginTime" == entries["4", None].reason
    assert State.FAILED is entries["3", 999].state
    assert 1000 == sum(array == "3" for array, _ in entries)


def test_unknown_ids_are_an_answer_and_silence_is_none() -> None:
    """The exit code is 1 for both (22.05)."""
    unknown = "slurm_load_jobs error: Invalid job id specified"
    silent = "slurm_load_jobs error: Unable to contact slurm controller (connect failure)"

    assert {} == queue.parse_squeue(1, "", unknown)
    assert queue.parse_squeue(1, "", silent) is None


def test_a_word_that_slurm_adds_tomorrow_is_alive_and_warned_about_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    line = "7|N/A|DREAMING|0:01|n1|None|(null)\n"
    with caplog.at_level(logging.WARNING):
        entries = queue.parse_squeue(0, line * 3, "")

    assert entries is not None
    assert State.RUNNING is entries["7", None].state
    assert 1 == len(caplog.records)


def test_every_state_of_a_dead_job_has_a_reason() -> None:
    dead = {word for word, state in queue.STATES.items() if state in (State.FAILED, State.LOST)}

    assert dead == set(queue.REASONS)


def test_headers_banners_and_pipes_in_reasons_do_no_harm() -> None:
    said = "CLUSTER: one\n\nwelcome\n5|3|PENDING|0:00||(odd|reason)|repx:s:1-a\n"
    entries = queue.parse_squeue(0, said, "")

    assert entries is not None
    assert {("5", 3): "(odd|reason)"} == {key: entry.reason for key, entry in entries.items()}


@given(st.sets(st.integers(0, 5000), min_size=1), st.integers(1, 50))
def test_indices_written_as_slurm_does_are_read_back(indices: set[int], throttle: int) -> None:
    ordered = sorted(indices)
    written = ",".join(map(str, ordered))

    assert ordered == list(queue.expand(written))
    assert ordered == list(queue.expand(f"{written}%{throttle}"))


def test_ranges_steps_and_no_array_at_all() -> None:
    assert [0, 1, 2, 7, 10, 14, 18] == list(queue.expand("0-2,7,10-18:4%5"))
    assert [None] == list(queue.expand("N/A"))
    assert [None] == list(queue.expand(""))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0:05", 5), ("1:02:03", 3723), ("2-00:00:01", 172801), ("INVALID", 0), ("", 0)],
)
def test_elapsed_times(text: str, seconds: int) -> None:
    assert seconds == queue.seconds(text)


def test_accounting_helps_where_it_works() -> None:
    said = "12_3|CANCELLED by 1000|00:00:05|n1\n12_[7-8]|CANCELLED by 0|00:00:00|None\n"
    said += "12_3.batch|FAILED|00:00:05|n1\n13|OUT_OF_MEMORY|1-00:00:00|n2\n"
    entries = queue.parse_sacct(0, said)

    assert "CANCELLED" == entries["12", 3].word
    assert {("12", 3), ("12", 7), ("12", 8), ("13", None)} == set(entries)
    assert 86400 == entries["13", None].elapsed_s
    assert {} == queue.parse_sacct(1, "Slurm accounting storage is disabled")


def test_accounting_names_no_user_where_slurm_itself_cancelled() -> None:
    """As it does when a job can never start: whether it was skipped, what it needed tells."""
    entries = queue.parse_sacct(0, "6|CANCELLED|00:00:00|None assigned\n")

    assert State.LOST is entries["6", None].state


def test_the_sites_limit_is_read() -> None:
    config = (DATA / "scontrol-22.05-config.txt").read_text()

    assert 1001 == queue.parse_max_array_size(config)
    assert queue.parse_max_array_size("no such thing") is None


def test_the_clusters_name_is_read() -> None:
    assert "repxtest" == queue.parse_cluster("AuthType = x\nClusterName             = repxtest\n")
    assert "" == queue.parse_cluster("no such thing")


def test_a_dependency_that_is_never_met_is_no_job_that_waits() -> None:
    """Where a site does not let Slurm cancel such jobs they stay pending."""
    said = "5|N/A|PENDING|0:00||DependencyNeverSatisfied|repx:s:1-a\n"
    entries = queue.parse_squeue(0, said, "")

    assert entries is not None
    assert State.SKIPPED is entries["5", None].state


@pytest.mark.slow
def test_the_users_own_settings_for_slurm_change_nothing() -> None:
    """They are unset; what reaches the controller stays."""
    words = queue.ours("env")
    mine = {"SQUEUE_FORMAT": "x", "SLURM_CLUSTERS": "x", "SACCT_FORMAT": "x", "SLURM_CONF": "/c"}
    done = subprocess.run(
        words, env={**mine, "PATH": os.environ["PATH"]}, text=True, capture_output=True, check=True
    )
    left = {line.partition("=")[0] for line in done.stdout.splitlines()} & mine.keys()

    assert {"SLURM_CONF"} == left
    assert getpass.getuser() == _said(queue.ours("echo", "%ME"))


def _said(words: Sequence[str]) -> str:
    return subprocess.run(words, text=True, capture_output=True, check=True).stdout.strip()


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("JobHeldUser", "JobHeldUser (held; `scontrol release` lets it start)"),
        ("launch_failed_requeued_held", "(its node could not start it;"),
        ("Priority", "Priority"),
        ("None", ""),
    ],
)
def test_why_a_job_does_not_start_by_itself_is_told_in_words(reason: str, said: str) -> None:
    entries = queue.parse_squeue(0, f"7|N/A|PENDING|0:00||{reason}|repx:s:1-a\n", "")

    assert entries
    assert said in entries["7", None].reason
    assert bool(said) == bool(entries["7", None].reason)
