"""What other people may have put into an archive, and URLs that lead to none."""

from __future__ import annotations

import json
import sys
import tarfile
from hashlib import sha256
from io import BytesIO
from typing import TYPE_CHECKING

import fsspec  # noqa: F401  # its registry is looked into
import pytest

from repx import archive
from repx import store as stores
from repx.errors import InputError, StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from repx.archive import Archive
    from repx.places.carry import Rest
    from repx.store import Store


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Archive:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return archive.of(str(tmp_path / "kept"))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = stores.local(str(tmp_path / "store"))
    made.write("outputs/j/out/x", b"result")
    made.write("outputs/j/repx/SUCCESS", b"{}\n")
    return made


@pytest.fixture
def other(tmp_path: Path) -> Store:
    return stores.local(str(tmp_path / "other"))


def forged(kept: Archive, *members: tuple[str, bytes, str]) -> None:
    """Give job k an entry and a pack with any content: name, type of tar, content or link."""
    content = BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as pack:
        for name, kind, text in members:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, text
            member.size = len(text) if kind == tarfile.REGTYPE else 0
            pack.addfile(member, BytesIO(text.encode()))
    digest = sha256(content.getvalue()).hexdigest()
    entry = {"sha256": digest, "size": len(content.getvalue()), "by": "\x1b[31mroot\n"}
    with kept.opened.to_write() as there:
        there.fs.pipe({there.path("packs", f"k.{digest}.tar.gz"): content.getvalue()})
        there.fs.pipe({there.path("entries", "k.json"): json.dumps(entry).encode()})


MARKER = ("repx/SUCCESS", tarfile.REGTYPE, "{}")


@pytest.mark.parametrize(
    ("member", "why"),
    [
        (("out/../../j/out/x", tarfile.REGTYPE, "!"), "not a file of a job"),
        (("/tmp/x", tarfile.REGTYPE, "!"), "not a file of a job"),  # noqa: S108
        (("other", tarfile.REGTYPE, "!"), "not a file of a job"),
        (("repx/lock", tarfile.REGTYPE, "!"), "not a file of results"),
        (("repx/FAIL", tarfile.REGTYPE, "{}"), "not a file of results"),
        (("out/x", tarfile.SYMTYPE, "/etc/passwd"), "a link that leads out"),
        (("out/x", tarfile.SYMTYPE, "../../j/out/x"), "a link that leads out"),
        (("out/x", tarfile.LNKTYPE, "/etc/passwd"), "neither file, link nor folder"),
        (("out/x", tarfile.FIFOTYPE, ""), "neither file, link nor folder"),
        (("out/x", tarfile.CHRTYPE, ""), "neither file, link nor folder"),
    ],
    ids=str,
)
def test_a_forged_pack_is_not_brought_and_stops_nothing_else(
    store: Store, other: Store, kept: Archive, member: tuple[str, bytes, str], why: str
) -> None:
    kept.put(["j"], store)
    forged(kept, member, MARKER)
    came = kept.bring(kept.has(["k", "j"]), other)

    assert ("j",) == came.jobs
    assert why in came.broken["k"]
    assert ["j"] == other.names("outputs")


@pytest.mark.parametrize("marker", [(), (("repx/SUCCESS", tarfile.SYMTYPE, "lock"),)])
def test_a_forged_marker_is_no_success(
    store: Store, other: Store, kept: Archive, marker: tuple[tuple[str, bytes, str], ...]
) -> None:
    kept.put(["j"], store)
    forged(kept, ("out/x", tarfile.REGTYPE, "!"), *marker)
    came = kept.bring(kept.has(["k", "j"]), other)

    assert ("j",) == came.jobs
    assert ["k"] == list(came.broken)
    assert "" == kept.has(["k"])["k"].by  # no name that a terminal cannot show


@pytest.mark.parametrize(
    "entry",
    [
        {"sha256": "../../../etc/passwd", "size": 5},
        {"sha256": "0" * 64, "size": -5},
        {"sha256": "0" * 64, "size": True},
        {"sha256": ["0" * 64], "size": 5},
        {"size": 5},
    ],
    ids=str,
)
def test_an_entry_whose_facts_cannot_be_is_none(kept: Archive, entry: object) -> None:
    with kept.opened.to_write() as there:
        there.fs.pipe({there.path("entries", "k.json"): json.dumps(entry).encode()})

    assert {} == kept.has(["k"])


def test_a_job_that_changes_meanwhile_is_not_pushed(
    store: Store, kept: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write("outputs/k/repx/SUCCESS", b"{}\n")
    fetch = type(store).fetch

    def late(store: Store, keys: Sequence[str]) -> Iterator[tuple[str, int, Rest]]:
        store.write("outputs/j/repx/SUCCESS", b'{"exit": 0}\n')
        return fetch(store, keys)

    monkeypatch.setattr(type(store), "fetch", late)
    added = kept.put(["j", "k"], store)

    assert (("k",), {"j": "it runs again"}) == (added.jobs, added.refused)


@pytest.mark.parametrize(
    ("url", "module", "install"),
    [
        ("gs://x/y", "gcsfs", "pip install 'repx-hpc[gs]'"),
        ("s3://x/y", "s3fs", "pip install 'repx-hpc[s3]'"),
        ("webdav://x/y", "webdav4.fsspec", "pip install 'repx-hpc[webdav]'"),
        ("hf://x/y", "huggingface_hub", "install this package"),
    ],
)
def test_a_package_that_is_missing_is_named(
    url: str, module: str, install: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = sys.modules["fsspec.registry"]._registry
    monkeypatch.delitem(known, url.partition(":")[0], raising=False)
    for name in (module, module.partition(".")[0]):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(StorageError, match=r"(?i)install|access") as error:
        archive.of(url)

    assert install in str(error.value.hint)


def test_a_scheme_with_a_mistake_is_corrected() -> None:
    with pytest.raises(StorageError, match="webdaw") as error:
        archive.of("webdaw://x/y")

    assert "did you mean 'webdav'" in str(error.value.hint)


@pytest.mark.parametrize("url", ["webdav://ann:secret@x/y", "ftp://a:b@x", "ssh://a:b@x/y"])
def test_a_password_in_a_url_is_refused(url: str) -> None:
    with pytest.raises(InputError, match="holds a password") as error:
        archive.of(url)

    assert "secret" not in error.value.message
