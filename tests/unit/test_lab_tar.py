"""Tars as people and enemies make them."""

from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repx.errors import LabError
from repx.lab.headers import TarError, Type, members
from repx.lab.tar import TarFiles

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

MANIFEST: Final = "lab/lab-metadata.json"
FORMATS: Final = (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)
TYPES: Final = {
    tarfile.REGTYPE: Type.FILE,
    tarfile.LNKTYPE: Type.HARD_LINK,
    tarfile.SYMTYPE: Type.LINK,
    tarfile.DIRTYPE: Type.FOLDER,
    tarfile.FIFOTYPE: Type.FIFO,
    tarfile.CHRTYPE: Type.CHARACTER_DEVICE,
    tarfile.BLKTYPE: Type.BLOCK_DEVICE,
}


def member(name: str, content: bytes = b"", **fields: object) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for field, value in fields.items():
        setattr(info, field, value)
    return info, content


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tuple[tarfile.TarInfo, bytes]:
    return member(name, type=kind, linkname=target)


def packed(
    entries: Iterable[tuple[tarfile.TarInfo, bytes]], form: int = tarfile.PAX_FORMAT
) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as tar:
        for info, content in entries:
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def opened(
    tmp_path: Path, *entries: tuple[tarfile.TarInfo, bytes], manifest: bool = True
) -> TarFiles:
    path = tmp_path / "lab.tar"
    first = [member(MANIFEST, b"{}")] if manifest else []
    path.write_bytes(packed([*first, *entries]))
    return TarFiles(path)


names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0/"), min_size=1)
paths = st.lists(names, min_size=1, max_size=8).map("/".join)


@given(
    st.sampled_from(FORMATS[1:]),
    st.lists(
        st.one_of(
            st.builds(member, paths, st.binary(max_size=1500), mode=st.integers(0, 0o7777)),
            st.builds(link, paths, paths),
            st.builds(link, paths, paths, st.just(tarfile.LNKTYPE)),
            st.builds(member, paths, type=st.sampled_from([*TYPES][3:])),
        )
    ),
)
def test_members_are_those_python_wrote(
    form: int, entries: list[tuple[tarfile.TarInfo, bytes]]
) -> None:
    """Names of any length and any characters, contents of any size, in both long forms."""
    archive = packed(entries, form)
    found = list(members(io.BytesIO(archive), len(archive)))

    assert [TYPES[info.type] for info, _ in entries] == [each.type for _, each in found]
    for (info, content), (name, each) in zip(entries, found, strict=True):
        assert info.name.rstrip("/") == name.rstrip("/")
        assert content == archive[each.offset : each.offset + each.size]
        if each.type in {Type.LINK, Type.HARD_LINK}:
            assert info.linkname == each.target
        if each.type is Type.FILE:
            assert info.mode == each.mode


@given(st.binary(max_size=2000), st.integers(0, 20_000))
def test_damaged_archives_end_in_an_error_or_in_members(noise: bytes, at: int) -> None:
    archive = bytearray(packed([member("a/" * 80, b"x" * 3000), link("b" * 200, "c")]))
    archive[at : at + len(noise)] = noise
    try:
        found = list(members(io.BytesIO(archive), len(archive)))
    except TarError:
        return

    assert all(each.offset + each.size <= len(archive) for _, each in found)


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        (member("/etc/cron.d/x", b"x"), "member name '/etc/cron.d/x' is absolute"),
        (member("jobs/../../x", b"x"), "contains '..'"),
        (member("..", b"x"), "contains '..'"),
        (member("a", b"x", pax_headers={"path": "a\0b/c"}), "contains a NUL character"),
        (member("a/" * 4000, b"x"), "characters long, more than 4,096"),
        (member("store/" + "d/" * 101 + "x", b"x"), "is 102 folders deep, more than 100"),
        (member("dev", type=tarfile.CHRTYPE), "dev: a device or FIFO"),
        (member("dev", type=tarfile.BLKTYPE), "dev: a device or FIFO"),
        (member("fifo", type=tarfile.FIFOTYPE), "fifo: a device or FIFO"),
        (member("odd", type=b"Z"), "'odd' is of type b'Z'"),
        (member(MANIFEST, b"{}"), "twice in the archive"),
        (link(MANIFEST, "x"), "twice in the archive"),
        (link("x", "/etc/passwd"), "leads out of the Lab, to /etc/passwd"),
        (link("a/x", "../../y"), "leads out of the Lab"),
        (link("a/x", "b/../../../c"), "leads out of the Lab"),
        (link("h", "nothing", tarfile.LNKTYPE), "a hard link to no file"),
        (link("h", "h", tarfile.LNKTYPE), "a hard link to no file"),
        (link("h", "/etc/passwd", tarfile.LNKTYPE), "is absolute"),
        (link("h", "../x", tarfile.LNKTYPE), "contains '..'"),
        (link("h", "lab", tarfile.LNKTYPE), "a hard link to no file"),
    ],
    ids=lambda value: value if isinstance(value, str) else value[0].name[:20],
)
def test_a_hostile_member_is_refused(
    tmp_path: Path, entry: tuple[tarfile.TarInfo, bytes], problem: str
) -> None:
    with pytest.raises(LabError) as caught:
        opened(tmp_path, entry)

    assert problem in caught.value.message


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    files = opened(tmp_path, link("a", "b"), link("b", "a"))

    with pytest.raises(LabError, match="links to follow"):
        files.read("a")


def test_a_link_through_a_linked_folder_cannot_climb_out(tmp_path: Path) -> None:
    """``a/b/c/up`` is harmless where it stands, but ``short`` makes it stand higher."""
    files = opened(
        tmp_path, link("short", "a/b"), link("a/b", "../top"), member("top/f"), link("top/l", "..")
    )

    with pytest.raises(LabError, match="leads out of the Lab"):
        files.read("short/l/../x")


def test_hard_links_are_followed_in_chains_and_before_their_target(tmp_path: Path) -> None:
    files = opened(
        tmp_path,
        link("early", "second", tarfile.LNKTYPE),
        link("second", "real", tarfile.LNKTYPE),
        member("real", b"data", mode=0o755),
    )

    assert b"data" == files.read("early")
    assert files.is_executable("second")


def test_a_hard_link_out_of_the_lab_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="a hard link to no file of the Lab"):
        opened(
            tmp_path,
            member("top/lab/lab-metadata.json", b"{}"),
            member("beside", b"secret"),
            link("top/x", "beside", tarfile.LNKTYPE),
            manifest=False,
        )


def test_the_lab_nearest_to_the_top_is_meant(tmp_path: Path) -> None:
    files = opened(
        tmp_path,
        member("x/store/copy/lab/old-lab-metadata.json", b"inner"),
        member("x/lab/lab/lab-metadata.json", b"decoy"),
        member("x/lab/0abc-lab-metadata.json", b"outer"),
        manifest=False,
    )

    assert b"outer" == files.read("lab/0abc-lab-metadata.json")


def test_folders_without_members_of_their_own_exist(tmp_path: Path) -> None:
    files = opened(tmp_path, member("jobs/j/bin/run", b"x"))

    assert ["bin"] == files.names("jobs/j")


def test_a_folder_may_come_twice(tmp_path: Path) -> None:
    folder = member("jobs", type=tarfile.DIRTYPE)

    assert ["x"] == opened(tmp_path, folder, folder, member("jobs/x")).names("jobs")


def test_two_labs_side_by_side_are_refused(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="several Labs inside: a, b"):
        opened(
            tmp_path,
            member(f"a/{MANIFEST}"),
            member(f"b/{MANIFEST}"),
            manifest=False,
        )


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "too short"),
        (b"\x1f\x8b" + b"\0" * 2000, "no header"),
        (b"plain text\n" * 100, "no header"),
        (bytes(10240), "no lab/"),
        (packed([member("readme", b"x")]), "no lab/"),
        (packed([member(MANIFEST, b"x" * 9000)])[:4000], "ends before"),
        (packed([member(MANIFEST, b"x")])[:1024] + b"cut", "cut off"),
    ],
    ids=["empty", "gzip", "text", "zeros", "no lab", "cut content", "cut header"],
)
def test_a_file_that_is_no_lab_says_so(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "lab.tar"
    path.write_bytes(content)

    with pytest.raises(LabError, match=problem):
        TarFiles(path)


def test_a_sparse_archive_says_how_to_make_another(tmp_path: Path) -> None:
    info, content = member("big", b"x")
    info.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}

    with pytest.raises(LabError, match="make it without --sparse"):
        opened(tmp_path, (info, content))


def test_a_chain_of_extension_headers_ends(tmp_path: Path) -> None:
    """A reader that recurses per header would run out of stack."""
    info = tarfile.TarInfo("pad")
    info.type = b"g"
    path = tmp_path / "lab.tar"
    path.write_bytes(info.tobuf() * 20_000 + packed([member(MANIFEST, b"{}")]))

    assert b"{}" == TarFiles(path).read(MANIFEST)


def test_a_huge_extension_header_is_not_read(tmp_path: Path) -> None:
    info = tarfile.TarInfo("././@LongLink")
    info.type = b"L"
    info.size = 1 << 33
    path = tmp_path / "lab.tar"
    path.write_bytes(info.tobuf(tarfile.GNU_FORMAT))

    with pytest.raises(LabError, match=f"a header of {1 << 33} bytes"):
        TarFiles(path)
