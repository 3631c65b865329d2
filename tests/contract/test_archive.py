"""What an archive does on every file system: has, put, bring, delete; whole or not at all."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest

from repx import archive, progress
from repx import store as stores
from repx.brought import Found, marked, origin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from repx.archive import Archive
    from repx.store import Store
    from tests.contract.archives import Server
    from tests.real.sshd import Sshd

SSH = pytest.param("ssh", marks=[pytest.mark.slow, pytest.mark.needs("ssh")])
S3 = pytest.param("s3", marks=[pytest.mark.slow])
GS = pytest.param(
    "gs",
    marks=[
        pytest.mark.slow,
        # The emulator has no buckets' kinds, and threads of its library outlive their sockets.
        pytest.mark.filterwarnings("ignore::ResourceWarning"),
    ],
)
WEBDAV = pytest.param("webdav", marks=[pytest.mark.slow])


@pytest.fixture(params=["local", "memory", "zip", SSH, S3, GS, WEBDAV])
def url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = tmp_path.name.lower().replace("_", "-").strip("-")
    place = {
        "local": f"{tmp_path}/it's kept",
        "memory": f"memory://{tmp_path}",
        "zip": f"{tmp_path}/it's kept.zip",
        "ssh": f"ssh://far{tmp_path}/it's kept",
        "s3": f"s3://{name}/kept",
        "gs": f"gs://kept/{name}/it's",
    }
    if request.param == "s3":
        monkeypatch.setenv("AWS_ENDPOINT_URL", request.getfixturevalue("s3").url)
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, "x")
    elif request.param == "gs":
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", request.getfixturevalue("gs").url)
        monkeypatch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    elif request.param == "webdav":
        server = request.getfixturevalue("webdav")
        login(tmp_path)
        return f"{server.url}/it's/kept ä"
    return place[request.param]


def login(home: Path) -> None:
    """Let the user of this home in at the WebDAV server."""
    netrc = home / ".netrc"
    netrc.write_text("machine 127.0.0.1 login ann password secret\n")
    netrc.chmod(0o600)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    return tmp_path


@pytest.fixture
def kept(url: str, request: pytest.FixtureRequest) -> Archive:
    return archive.of(url, ssh_config(url, request))


def ssh_config(url: str, request: pytest.FixtureRequest) -> str | None:
    if not url.startswith("ssh://"):
        return None
    sshd: Sshd = request.getfixturevalue("sshd")
    return str(sshd.config)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Return a store with one job that has succeeded."""
    made = stores.local(str(tmp_path / "store"))
    made.write("outputs/j/out/a b", b"result", 0o755)
    made.write("outputs/j/out/deep/FAIL", b"an output of this name")
    made.write("outputs/j/repx/lock", b"host 1")
    made.write("outputs/j/repx/SUCCESS", b"{}\n")
    home = tmp_path / "store/outputs/j/out"
    (home / "link").symlink_to("a b")
    (home / "empty").mkdir()
    return made


@pytest.fixture
def other(tmp_path: Path) -> Store:
    return stores.local(str(tmp_path / "other"))


def test_what_was_put_is_brought_elsewhere_with_who_made_it(
    kept: Archive, store: Store, other: Store, tmp_path: Path
) -> None:
    kept.put(["j"], store)
    found = kept.has(["j", "k"])
    came = kept.bring(found, other)

    assert ["j"] == list(found) == list(came.jobs)
    assert found["j"].by
    assert found["j"].at > time.time() - 1000
    assert {"j": "SUCCESS"} == other.markers(["j"])
    out = tmp_path / "other/outputs/j/out"
    assert b"result" == (out / "a b").read_bytes() == (out / "link").read_bytes()
    assert "a b" == str((out / "link").readlink())
    assert (out / "empty").is_dir()
    assert (out / "a b").stat().st_mode & 0o100
    assert other.exists("outputs/j/out/deep/FAIL")
    note = origin(other.marker("j", "SUCCESS"))
    assert (kept.name, found["j"].by) == (note["from"], note["by"])


def test_who_made_a_result_is_kept_when_it_is_passed_on(
    kept: Archive, store: Store, other: Store
) -> None:
    made = Found(by="ann", host="h", at=5)
    store.write("outputs/j/repx/SUCCESS", marked(b'{"exit": 0}\n', "x", made))
    kept.put(["j"], store)
    kept.bring(kept.has(["j"]), other)

    found = kept.has(["j"])["j"]
    assert made == replace(found, sha256="", size=0)
    marker = other.marker("j", "SUCCESS")
    assert (0, "ann", kept.name) == (marker["exit"], origin(marker)["by"], origin(marker)["from"])


@pytest.mark.slow
@pytest.mark.needs("ssh")
def test_many_jobs_are_as_many_calls_as_few(
    store: Store, other: Store, tmp_path: Path, sshd: Sshd
) -> None:
    trips = {}
    for count in (2, 60):
        jobs = [f"{count}-{number}" for number in range(count)]
        for job in jobs:
            store.write(f"outputs/{job}/out/x", os.urandom(9))
            store.write(f"outputs/{job}/repx/SUCCESS", b"{}\n")
        there = archive.of(f"ssh://far{tmp_path}/kept {count}", str(sshd.config))
        channel = there.opened.fs.store.place.channel  # type: ignore[union-attr]
        there.put(jobs, store)
        came = there.bring(there.has(jobs), other)
        trips[count] = channel.round_trips
        assert len(jobs) == len(came.jobs)
        channel.close()

    assert trips[2] == trips[60] <= 12


def test_equal_results_are_one_pack_and_deleted_ones_are_gone(kept: Archive, store: Store) -> None:
    first, again = kept.put(["j"], store), kept.put(["j"], store)
    assert first.size_bytes > 0
    assert replace(first, size_bytes=0) == again
    assert 1 == len(listed(kept, "packs"))
    kept.delete(["j", "never"])
    assert {} == kept.has(["j"])
    assert [] == listed(kept, "packs")


def test_half_an_upload_is_no_entry(kept: Archive, store: Store) -> None:
    kept.put(["j"], store)
    spoil(kept, "entries", b'{"sha')

    assert {} == kept.has(["j"])


def test_damaged_results_are_not_brought_and_others_are(
    kept: Archive, store: Store, other: Store
) -> None:
    store.write("outputs/k/repx/SUCCESS", b"{}\n")
    kept.put(["j", "k"], store)
    found = kept.has(["j", "k"])
    spoil(kept, "packs", b"other")
    came = kept.bring(found, other)

    assert (("k",), {"j": "its results are damaged"}) == (came.jobs, came.broken)
    assert ["k"] == other.names("outputs")


def test_what_is_gone_or_no_pack_is_told(kept: Archive, store: Store, other: Store) -> None:
    kept.put(["j"], store)
    (found,) = kept.has(["j"]).values()
    came = kept.bring({"j": replace(found, sha256="0" * 64), "k": found}, other)

    assert {"j", "k"} == came.broken.keys()
    assert [] == other.names("outputs")


def test_an_entry_of_somebody_else_breaks_nothing(kept: Archive, store: Store) -> None:
    kept.put(["j"], store)
    with kept.opened.to_write() as there:
        there.fs.pipe({there.path("entries", "k.json"): json.dumps([1]).encode()})

    assert ["j"] == list(kept.has(["j", "k"]))


def test_a_job_that_has_succeeded_meanwhile_is_left(
    kept: Archive, store: Store, other: Store
) -> None:
    kept.put(["j"], store)
    other.write("outputs/j/repx/SUCCESS", b'{"ours":1}\n')
    came = kept.bring(kept.has(["j"]), other)

    assert ((), ("j",)) == (came.jobs, came.passed)
    assert b'{"ours":1}\n' == other.read("outputs/j/repx/SUCCESS")


PUSH = """
import sys
from repx import archive, store
archive.of(sys.argv[1], sys.argv[2] or None).put(sys.argv[4:], store.local(sys.argv[3]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("delay_s", [0.05, 0.4, 0.8])
def test_a_push_that_is_killed_leaves_what_was_there_and_nothing_half(
    url: str, store: Store, other: Store, request: pytest.FixtureRequest, delay_s: float
) -> None:
    if url.startswith("memory"):
        pytest.skip("it ends with its process")
    config = ssh_config(url, request)
    jobs = [f"job-{number}" for number in range(30)]
    for job in jobs:
        store.write(f"outputs/{job}/out/x", os.urandom(100_000))
        store.write(f"outputs/{job}/repx/SUCCESS", b"{}\n")
    archive.of(url, config).put(["j"], store)
    process = subprocess.Popen(
        [sys.executable, "-c", PUSH, url, config or "", store.root, *jobs],
        stderr=subprocess.DEVNULL,
    )
    time.sleep(delay_s)
    process.send_signal(signal.SIGKILL)
    process.wait()

    kept = archive.of(url, config)
    found = kept.has([*jobs, "j"])
    assert "j" in found
    assert set(found) == set(kept.bring(found, other).jobs)
    kept.put(jobs, store)
    assert len(jobs) + 1 == len(kept.has([*jobs, "j"]))


PULL = """
import sys
from repx import archive, store
kept = archive.of(sys.argv[1])
kept.bring(kept.has(sys.argv[3:]), store.local(sys.argv[2]))
"""


@pytest.mark.slow
def test_a_pull_that_is_killed_leaves_no_false_success(
    store: Store, other: Store, tmp_path: Path
) -> None:
    kept = archive.of(str(tmp_path / "kept"))
    jobs = [f"job-{number}" for number in range(12)]
    results = {job: os.urandom(300_000) for job in jobs}
    for job, result in results.items():
        store.write(f"outputs/{job}/out/x", result)
        store.write(f"outputs/{job}/repx/SUCCESS", b"{}\n")
    kept.put(jobs, store)
    for delay_s in (0.2, 0.3, 0.4, 0.6, 0.9):
        words = (sys.executable, "-c", PULL, kept.name, other.root, *jobs)
        process = subprocess.Popen(words, stderr=subprocess.DEVNULL)
        time.sleep(delay_s)
        process.kill()
        process.wait()
        for job in other.markers(jobs):
            assert results[job] == other.read(f"outputs/{job}/out/x")

    kept.bring(kept.has(jobs), other)
    assert set(jobs) == set(other.markers(jobs))
    assert all(results[job] == other.read(f"outputs/{job}/out/x") for job in jobs)


def test_colleagues_may_add_and_not_change(tmp_path: Path, store: Store) -> None:
    umask = os.umask(0o077)
    try:
        archive.of(str(tmp_path / "kept")).put(["j"], store)
    finally:
        os.umask(umask)
    modes = {path.name: path.stat().st_mode for path in (tmp_path / "kept").iterdir()}

    assert {"entries", "packs", "incoming"} == modes.keys()
    assert all(mode & 0o7777 == 0o3775 for mode in modes.values())
    for path in (tmp_path / "kept").rglob("j.*"):
        assert 0o444 == stat.S_IMODE(path.stat().st_mode)


def test_an_entry_tells_only_what_has_its_type() -> None:
    assert Found(by="ann") == Found.of({"by": "ann", "host": 3, "at": "x", "size": None})


def listed(kept: Archive, folder: str) -> list[str]:
    with kept.opened.to_read() as there:
        try:
            return list(there.fs.ls(there.path(folder), detail=False))
        except FileNotFoundError:
            return []


def spoil(kept: Archive, folder: str, content: bytes) -> None:
    """Give the file of job j another content."""
    names = [path.rpartition("/")[2] for path in listed(kept, folder)]
    (name,) = (name for name in names if name.startswith("j."))
    with kept.opened.to_write() as there:
        there.fs.pipe({there.path(folder, name): content})


def big(store: Store, kept: Archive) -> tuple[str, bytes]:
    """Put job big, whose results cannot be compressed; return its pack, and the pack's name."""
    store.write("outputs/big/out/x", os.urandom(3 << 20))
    store.write("outputs/big/repx/SUCCESS", b"{}\n")
    kept.put(["big"], store)
    (name,) = (path.rpartition("/")[2] for path in listed(kept, "packs"))
    with kept.opened.to_read() as there:
        return name, there.fs.cat_file(there.path("packs", name))


def begin(home: Path, name: str, content: bytes) -> None:
    """Leave what a process that was killed has fetched of a pack."""
    folder = home / ".cache/repx/packs/0"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name.split(".")[1]).write_bytes(content)


def test_a_pack_is_continued_within(kept: Archive, store: Store, other: Store, home: Path) -> None:
    name, pack = big(store, kept)
    half = len(pack) // 2
    begin(home, name, pack[:half])
    with kept.opened.to_write() as there:  # only who goes on after the half has the right sum
        there.fs.pipe({there.path("packs", name): bytes(half) + pack[half:]})
    came = kept.bring(kept.has(["big"]), other)

    assert ("big",) == came.jobs, came.broken
    assert store.read("outputs/big/out/x") == other.read("outputs/big/out/x")
    assert [] == list((home / ".cache/repx/packs/0").iterdir())


def test_a_wrong_beginning_is_fetched_anew(
    kept: Archive, store: Store, other: Store, home: Path
) -> None:
    name, pack = big(store, kept)
    begin(home, name, bytes(len(pack) // 2))

    assert ("big",) == kept.bring(kept.has(["big"]), other).jobs


def test_what_the_target_has_of_a_file_is_not_sent_again(
    store: Store, other: Store, tmp_path: Path
) -> None:
    kept = archive.of(str(tmp_path / "kept"))
    big(store, kept)
    content = store.read("outputs/big/out/x") or b""
    part = tmp_path / "other/incoming" / f".{sha256(b'outputs/big/out/x').hexdigest()[:24]}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(content[:-7])
    totals = []

    @contextmanager
    def bar(what: str, total: int) -> Iterator[Callable[[int], None]]:
        totals.append((what, total))
        yield lambda _: None

    progress.listen(bar, bar)
    try:
        kept.bring(kept.has(["big"]), other)
    finally:
        progress._bars.clear()
    marker = len(store.read("outputs/big/repx/SUCCESS") or b"")
    assert ("unpacking:", 7 + marker) == totals[-1]
    assert content == other.read("outputs/big/out/x")


def test_a_push_that_was_killed_sends_no_pack_twice(kept: Archive, store: Store) -> None:
    kept.put(["j"], store)
    with kept.opened.to_write() as there:
        there.fs.rm_file(there.path("entries", "j.json"))

    assert (("j",), 0) == ((again := kept.put(["j"], store)).jobs, again.size_bytes)
    assert ["j"] == list(kept.has(["j"]))


def test_damaged_results_are_replaced_when_asked(kept: Archive, store: Store, other: Store) -> None:
    kept.put(["j"], store)
    spoil(kept, "packs", b"other")
    kept.put(["j"], store, replace=True)

    assert ("j",) == kept.bring(kept.has(["j"]), other).jobs


@pytest.mark.slow
def test_requests_of_a_server_by_the_number_of_jobs(
    webdav: Server, store: Store, other: Store, home: Path
) -> None:
    login(home)
    jobs = [f"job-{number}" for number in range(20)]
    for job in jobs:
        store.write(f"outputs/{job}/out/x", os.urandom(9))
        store.write(f"outputs/{job}/repx/SUCCESS", b"{}\n")
    kept = archive.of(f"{webdav.url}/kept")
    total = {}
    for count in (1, 20):
        kept.delete(jobs)
        webdav.requests.clear()
        kept.put(jobs[:count], store)
        kept.bring(kept.has(jobs[:count]), stores.local(f"{other.root} {count}"))
        methods = Counter(each.partition(" ")[0] for each in webdav.requests)
        assert (2 * count, 2 * count) == (methods["PUT"], methods["GET"])
        total[count] = len(webdav.requests)

    assert total[20] - total[1] <= 19 * 7
