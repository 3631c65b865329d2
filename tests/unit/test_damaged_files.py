"""Files that were damaged, or are no files: one clear answer, and the rest goes on."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from repx import store as stores
from repx import submissions, whole
from repx.errors import InputError, ProblemsError
from repx.lab import build
from repx.results import loading
from repx.results.loading import LoadError
from repx.runner import files, plan
from repx.schedulers import kept_dialect
from repx.schedulers.numbers import number
from repx.schedulers.slurm import folder, queue
from repx.target import Dialect

if TYPE_CHECKING:
    from repx.store import Store

LONG = "9" * 5000
SUBMISSION = "20260101-120000-abcdef"
DIALECT = Dialect(
    name="pbs",
    submit=("qsub",),
    id_pattern="([0-9]+)",
    after=("-W", "{ids}"),
    query=("qstat",),
    job_pattern="(?P<id>[0-9]+) (?P<state>[A-Z])",
    states={"Q": "queued"},
    cancel=("qdel",),
)


def _gigantic(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(4 << 30)


NO_FILES: Final[dict[str, Callable[[Path], object]]] = {
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a link to an endless file": lambda path: path.symlink_to("/dev/zero"),
    "a FIFO": os.mkfifo,
    "a folder": Path.mkdir,
    "4 GiB": _gigantic,
    "nothing": lambda _: None,
}


@pytest.mark.parametrize("text", ["", "-1", "1.5", "\u00b2", "\u0664", "0x1", "1_0", LONG, " 1"])
def test_only_a_plain_number_of_few_digits_is_one(text: str) -> None:
    assert number(text) is None
    assert 12 == number("12")


def test_indices_that_no_array_has_are_passed_over() -> None:
    assert [] == list(queue.expand(f"0-{LONG}"))
    assert [] == list(queue.expand("0-99999999999"))
    assert [7] == list(queue.expand(f"{LONG},7,0-5:0"))
    assert 0 == queue.seconds(f"1-{LONG}:00:01")
    assert queue.parse_max_array_size(f"MaxArraySize = {LONG}") is None


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return stores.local(str(tmp_path))


def test_damaged_rows_of_slurms_tables_are_named_and_passed_over(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    where = f"submissions/{SUBMISSION}"
    rows = f"1-a\t0\tjobs\ta0\n1-a\t{LONG}\tjobs\ta1\textra\n\u00b2\n1-a\t\u00b2\tjobs\ta2\n"
    store.write(f"{where}/arrays.tsv", rows.encode())
    store.write(f"{where}/submitted.tsv", f"1-a\t10\t2\n2-b\t{LONG}\t1\n".encode())
    store.write(f"{where}/tries.tsv", f"1-a\t2\toom\textra\n2-b\t{LONG}\toom\n".encode())
    store.write(f"{where}/again/x.tsv", f"1-a\t11\t0\t{LONG}\t-\t-\n1-a\t12\t0\t2\t-\t-\n".encode())
    store.write(f"{where}/cluster", b"c\tme\t\textra\n")

    known = folder.read(store, SUBMISSION)

    assert ["a0"] == [row.job for row in known.rows]
    assert {"1-a": "10"} == known.ids
    assert ["1-a"] == list(known.tries)
    assert ["12"] == [attempt.id for attempt in known.again["1-a", 0]]
    damaged = [
        f"{name}: a damaged line" for name in ("arrays.tsv:2", "arrays.tsv:3", "arrays.tsv:4")
    ]
    assert all(each in caplog.text for each in (*damaged, "submitted.tsv:2: a damaged line"))


def test_a_table_that_lost_its_jobs_is_named_once(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    store.write(f"submissions/{SUBMISSION}/submitted.tsv", b"1-a\t10\t2\n")
    store.write(f"submissions/{SUBMISSION}/arrays.tsv", b"")

    folder.read(store, SUBMISSION)
    folder.read(store, SUBMISSION)

    assert ["arrays.tsv names no job"] == [
        each.getMessage().rpartition("/")[2] for each in caplog.records
    ]


def test_damaged_rows_of_a_dialect_are_named(caplog: pytest.LogCaptureFixture) -> None:
    assert [("1", "a")] == kept_dialect.pairs("/s/batch.tsv", "1\ta\n\xff garbage\n\tb\n")
    assert "/s/batch.tsv:2: a damaged line" in caplog.text
    assert "/s/batch.tsv:3" in caplog.text


def test_an_event_nested_too_deeply_is_passed_over() -> None:
    lines = ["[" * 100_000, '{"e": "x", "t": 1}', "9" * 5000]

    assert ["x"] == [event.kind for event in submissions.parse_events(lines)]


@pytest.mark.parametrize("name", sorted(NO_FILES.keys() - {"nothing", "4 GiB"}))
def test_a_marker_that_is_no_file_is_named_and_passed_over(
    store: Store, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    store.write("outputs/a/repx/SUCCESS", b"{}\n")
    record = Path(store.path("outputs/b/repx"))
    record.mkdir(parents=True)
    NO_FILES[name](record / "FAIL")

    assert {} == store.marker("b", "FAIL")
    assert {} == store.marker("a", "SUCCESS")
    assert "outputs/b/repx/FAIL" in caplog.text


def test_a_kept_dialect_is_read_again() -> None:
    found = kept_dialect.read(kept_dialect.text(DIALECT))

    assert DIALECT.name == found.name
    assert DIALECT.states == found.states


@pytest.mark.parametrize(
    "change",
    [
        *({"query": None}, {"query": []}, {"query": "qstat"}, {"cancel": [1]}, {"query": ["\0"]}),
        *({"job_pattern": "("}, {"job_pattern": "x"}, {"job_pattern": 1}, {"none_pattern": None}),
        *({"states": []}, {"states": {"Q": 1}}, {"name": None}, {"more": 1}, {"submit": [[]]}),
    ],
)
def test_a_damaged_dialect_is_a_value_error(change: dict[str, object]) -> None:
    written = json.dumps({**json.loads(kept_dialect.text(DIALECT)), **change})

    with pytest.raises(ValueError, match=r".*"):
        kept_dialect.read(written)


@pytest.mark.parametrize("written", ["", "[]", "null", "[" * 100_000, "{", '"x"', LONG])
def test_what_is_no_dialect_is_a_value_error(written: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        kept_dialect.read(written)


@pytest.mark.parametrize("name", NO_FILES)
def test_lab_yaml_that_is_no_file_is_refused_at_once(tmp_path: Path, name: str) -> None:
    NO_FILES[name](tmp_path / "lab.yaml")
    start = time.process_time()

    with pytest.raises((InputError, ProblemsError)):
        build.build(tmp_path / "lab.yaml", tmp_path / "result", lambda _argv, _text: None)

    assert time.process_time() - start < 5  # hashing 4 GiB or an endless file takes longer


@pytest.mark.parametrize("name", NO_FILES)
def test_a_plan_that_is_no_file_is_refused_at_once(tmp_path: Path, name: str) -> None:
    NO_FILES[name](tmp_path / "plan.json")

    with pytest.raises((OSError, ValueError)):
        plan.read(str(tmp_path))


@pytest.mark.parametrize("name", NO_FILES)
def test_the_runner_reads_files_only(tmp_path: Path, name: str) -> None:
    NO_FILES[name](tmp_path / "job.sh")

    with pytest.raises(OSError, match=r"job\.sh"):
        files.read(os.fsencode(tmp_path / "job.sh"))


@pytest.mark.parametrize("name", NO_FILES)
def test_a_note_of_ours_that_is_no_file_is_an_os_error(tmp_path: Path, name: str) -> None:
    NO_FILES[name](tmp_path / "note.json")

    with pytest.raises(OSError, match="note"):
        whole.read(tmp_path / "note.json")


@pytest.mark.parametrize("name", sorted(NO_FILES.keys() - {"4 GiB"}))
def test_a_result_that_is_no_file_is_an_error_at_once(tmp_path: Path, name: str) -> None:
    NO_FILES[name](tmp_path / "x.json")

    with pytest.raises(LoadError, match=r"x\.json"):
        loading.load(tmp_path / "x.json")


@pytest.mark.parametrize("given", ["", LONG, "-1", "\u00b2", "nan"])
def test_a_grace_period_that_makes_no_sense_is_the_usual_one(
    monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    monkeypatch.setenv("REPX_GRACE_S", given)

    assert files.GRACE_S == files.grace_s()


def test_a_marker_of_4_gib_is_passed_over_and_not_read(tmp_path: Path) -> None:
    store = stores.local(str(tmp_path))
    store.write("outputs/a/repx/SUCCESS", b"ok")
    store.write("outputs/b/repx/SUCCESS", b"ok")
    os.truncate(tmp_path / "outputs/a/repx/SUCCESS", 4 << 30)

    assert {"outputs/b/repx/SUCCESS": b"ok"} == store.read_many(
        ["outputs/a/repx/SUCCESS", "outputs/b/repx/SUCCESS"]
    )
