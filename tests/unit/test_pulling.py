"""Results on their way from one store to another: what is there already, what changes meanwhile."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from repx import pulling
from repx import store as stores
from repx.results.remote import Remote

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from repx.places.carry import Rest
    from repx.store import Store

JOBS = ("j", "k")


@pytest.fixture
def source(tmp_path: Path) -> Store:
    made = stores.local(str(tmp_path / "source"))
    for job in JOBS:
        made.write(f"outputs/{job}/out/x", f"result of {job}".encode())
        made.write(f"outputs/{job}/out/deep/y.csv", b"1,2\n")
        made.write(f"outputs/{job}/repx/SUCCESS", b"{}\n")
    return made


@pytest.fixture
def target(tmp_path: Path) -> Store:
    return stores.local(str(tmp_path / "target"))


def test_a_second_pull_brings_nothing(source: Store, target: Store) -> None:
    first = pulling.pull(source, target, JOBS, None)
    again = pulling.pull(source, target, JOBS, None)

    assert (2, 6) == (first.jobs, first.files)
    assert (2, 0, 0) == (again.jobs, again.files, again.size_bytes)


def test_what_was_deleted_comes_again_when_named(source: Store, target: Store) -> None:
    pulling.pull(source, target, JOBS, None)
    target.remove("outputs/j/out/x")
    again = pulling.pull(source, target, JOBS, None, again=["j"])

    assert (2, 2) == (again.jobs, again.files)  # the file, and the marker after it
    assert b"result of j" == target.read("outputs/j/out/x")


def test_a_job_that_runs_again_meanwhile_does_not_count(
    source: Store, target: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch = type(source).fetch

    def late(
        store: Store, keys: Sequence[str], begun: Mapping[str, tuple[int, str]]
    ) -> Iterator[tuple[str, int, Rest]]:
        store.write("outputs/j/repx/SUCCESS", b'{"exit": 0}\n')
        return fetch(store, keys, begun)

    with monkeypatch.context() as patched:
        patched.setattr(type(source), "fetch", late)
        done = pulling.pull(source, target, JOBS, None)

    assert (1, ["j"]) == (done.jobs, done.changed)
    assert {"k": "SUCCESS"} == target.markers(JOBS)
    assert 2 == pulling.pull(source, target, JOBS, None).jobs
    assert b'{"exit": 0}\n' == target.read("outputs/j/repx/SUCCESS")


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("x", {"x"}),
        ("*.csv", {"deep/y.csv"}),
        ("deep/*", {"deep/y.csv"}),
        ("*", {"x", "deep/y.csv"}),
        ("out/x", set()),
        ("[", set()),
        ("X", set()),
        ("", set()),
    ],
)
def test_patterns_mean_paths_below_out(
    source: Store, target: Store, pattern: str, found: set[str]
) -> None:
    done = pulling.pull(source, target, JOBS, pattern)
    there = Path(target.path("outputs/j/out"))

    assert found == {str(path.relative_to(there)) for path in there.rglob("*") if path.is_file()}
    assert bool(found) is done.matched
    assert {} == target.markers(JOBS)


def _fetch(source: str, cache: str) -> None:
    os.environ["XDG_CACHE_HOME"] = cache
    Remote(stores.local(source)).bring(dict.fromkeys(JOBS, ()))


@pytest.mark.slow
def test_processes_that_fetch_the_same_at_once_get_all_of_it(source: Store, tmp_path: Path) -> None:
    for number in range(50):
        source.write(f"outputs/j/out/{number}", os.urandom(100_000))
    context = multiprocessing.get_context("spawn")
    arguments = (source.root, str(tmp_path / "cache"))
    processes = [context.Process(target=_fetch, args=arguments) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()

    assert [0] * 4 == [process.exitcode for process in processes]
    (kept,) = (tmp_path / "cache/repx/results").iterdir()
    for path in Path(source.path("outputs")).glob("*/out/**/*"):
        if path.is_file():
            copy = kept / path.relative_to(source.root)
            assert path.read_bytes() == copy.read_bytes()
