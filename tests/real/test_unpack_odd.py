"""Odd and hostile layers: what tar or bash could misread, and each way a layer may go."""

from __future__ import annotations

import gzip
import io
import os
import random
import re
import stat
import subprocess
import tarfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import pytest

from tests.image_labs import layer
from tests.real.test_unpack import FILLED, USERS, unpack

KINDS: Final = {
    "/": tarfile.DIRTYPE,
    "@": tarfile.SYMTYPE,
    "=": tarfile.LNKTYPE,
    "|": tarfile.FIFOTYPE,
    "c": tarfile.CHRTYPE,
    "b": tarfile.BLKTYPE,
}


def made(*members: tuple[str, str, int], form: int = tarfile.PAX_FORMAT) -> bytes:
    """Return a layer of members: name, kind with link target (`KINDS`) or text, mode."""
    written = io.BytesIO()
    with tarfile.open(
        fileobj=written, mode="w", format=form, encoding="utf-8", errors="surrogateescape"
    ) as tar:
        for name, text, mode in members:
            member = tarfile.TarInfo(name)
            member.mode = mode
            kind = KINDS.get(text[:1])
            if kind is None:
                data = text.removeprefix(" ").encode()
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
                continue
            member.type, member.linkname = kind, text[1:]
            tar.addfile(member)
    return written.getvalue()


def plain(*members: tuple[str, str]) -> bytes:
    """Return a layer whose members have one mode; the text of a file begins with a space."""
    return made(*((name, text, 0o755) for name, text in members))


def seen(root: Path) -> dict[str, tuple[str, int]]:
    """Return each member of a root: what it is or says, its mode; hard links share a first name."""
    found: dict[str, tuple[str, int]] = {}
    first: dict[int, str] = {}
    for path in sorted(root.rglob("*")):
        name, info = str(path.relative_to(root)), path.lstat()
        mode = stat.S_IMODE(info.st_mode)
        if path.is_symlink():
            found[name] = (f"@{path.readlink()}", 0)
        elif stat.S_ISREG(info.st_mode):
            original = first.setdefault(info.st_ino, name)
            same = "" if original == name else f"={original} "
            found[name] = (f"{same}{path.read_text()}", mode)
        else:
            found[name] = ("/" if path.is_dir() else "?", mode)
    return {name: what for name, what in found.items() if name not in FILLED}


def made_of(root: Path) -> dict[str, str]:
    return {
        name: what for name, (what, _) in seen(root).items() if what != "/" and name != "bin/sh"
    }


def both(tmp_path: Path, *layers: bytes, user: int | None = None) -> dict[str, str]:
    """Unpack as given and with later layers packed, which takes another way; both give the same."""
    found = []
    for name, packed in (
        ("given", layers),
        ("packed", (layers[0], *map(gzip.compress, layers[1:]))),
    ):
        folder = tmp_path / name
        folder.mkdir()
        done = unpack(folder / "root", *packed, user=user)
        assert done.returncode == 0, done.stdout + done.stderr
        assert {"root"} == {path.name for path in folder.iterdir() if path.is_dir()}
        found.append((seen(folder / "root"), made_of(folder / "root")))
    assert found[0][0] == found[1][0]
    return found[0][1]


@pytest.mark.parametrize("user", USERS)
def test_device_nodes_do_not_stop_an_ordinary_user(tmp_path: Path, user: int | None) -> None:
    first = plain(("srv/", "/"), ("srv/null", "c"), ("srv/f", " f"), ("dev/sda", "b"))
    second = plain(("./var/x/zero", "c"), ("var/x/kept", " k"), ("srv/sdb", "b"))

    assert {"srv/f": "f", "var/x/kept": "k"} == both(tmp_path, first, second, user=user)


@pytest.mark.parametrize("user", USERS)
def test_a_hard_link_may_lead_to_a_layer_below(tmp_path: Path, user: int | None) -> None:
    first = plain(("a/", "/"), ("a/f", " f"), ("g", " g"))
    second = plain(("b/h", "=a/f"), ("i", "=./g"), ("j", "=/g"))

    found = both(tmp_path, first, second, user=user)

    assert {"a/f": "f", "b/h": "=a/f f", "g": "g", "i": "=g g", "j": "=g g"} == found


def test_a_file_that_is_replaced_leaves_its_other_names_alone(tmp_path: Path) -> None:
    first = plain(("a", " a"), ("b", "=a"))

    assert {"a": "new", "b": "a"} == both(tmp_path, first, plain(("a", " new")))


def test_white_outs_that_share_an_inode_are_white_outs(tmp_path: Path) -> None:
    """Docker's aufs made them hard links of one another."""
    first = plain(("a", " a"), ("b", " b"), ("c", " c"))
    second = plain((".wh..wh.aufs", " "), (".wh.a", "=.wh..wh.aufs"), (".wh.b", "=.wh.a"))

    assert {"c": "c"} == both(tmp_path, first, second)


def test_white_outs_and_opaque_folders_in_several_layers(tmp_path: Path) -> None:
    first = plain(("a/b/c/d", " 1"), ("a/b/e", " 1"), ("f/g", " 1"), ("h", "@a/b"))
    second = plain(("a/b/.wh.c", " "), ("a/b/n", " 2"), ("f/.wh..wh..opq", " "), ("f/i", " 2"))
    third = plain(("a/b/c/", "/"), ("a/b/c/z", " 3"), ("f/.wh..wh..opq", " "), ("f/j", " 3"))
    fourth = plain((".wh.h", " "), (".wh.f", " "), ("h/k", " 4"))

    assert {"a/b/e": "1", "a/b/n": "2", "a/b/c/z": "3", "h/k": "4"} == both(
        tmp_path, first, second, third, fourth
    )


def test_links_folders_and_files_take_one_anothers_place(tmp_path: Path) -> None:
    first = plain(
        ("a", "@b"), ("b/x", " 1"), ("c/y", " 1"), ("d", " 1"), ("e", "@b"), ("f/z", " 1")
    )
    second = plain(
        *(("a/", "/"), ("a/in", " 2"), ("c", " now a file"), ("d/", "/"), ("d/in", " 2")),
        *(("e", "@c"), ("f", "@b")),
    )

    assert {"a/in": "2", "b/x": "1", "c": "now a file", "d/in": "2", "e": "@c", "f": "@b"} == both(
        tmp_path, first, second
    )


ODD_NAMES: Final = (
    *(
        "a b",
        " a",
        "a ",
        "-n",
        "--",
        "*",
        "[x]",
        "$(touch hit)",
        "`touch hit`",
        "x]y",
        "a'b",
        'a"b',
    ),
    *("new\nline", "tab\tx", "back\\slash", "\x037", "\x7f", "é", "\udcff\udcfe", "%s", "a -> b"),
    *("a link to b", "1970-01-01 00:00 x", "#", "~", "!", "a:b", "wh.x", "x.wh", "..x", "x.."),
)


@pytest.mark.parametrize("user", USERS)
def test_any_name_is_a_name(tmp_path: Path, user: int | None) -> None:
    first = plain(*((f"d/{name}/f{name}", " 1") for name in ODD_NAMES))
    second = made(
        *((f"d/{name}/", "/", 0o750) for name in ODD_NAMES),
        *((f"d/{name}/g{name}", " 2", 0o640) for name in ODD_NAMES),
        *((f"d/{name}/l", f"@{name}", 0o777) for name in ODD_NAMES),
    )
    third = plain(*((f"d/{name}/.wh.f{name}", " ") for name in ODD_NAMES))

    found = both(tmp_path, first, second, third, user=user)

    assert {
        **{f"d/{name}/g{name}": "2" for name in ODD_NAMES},
        **{f"d/{name}/l": f"@{name}" for name in ODD_NAMES},
    } == found
    assert not [*tmp_path.rglob("hit")]


def test_a_name_is_no_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A listed folder that nobody may write to, and whose mode a later layer changes."""
    monkeypatch.chdir(tmp_path)
    name = "$(touch hit)"
    first, second = (
        made((f"{name}/", "/", mode), (f"{name}/{mode}", " 1", 0o644)) for mode in (0o555, 0o500)
    )

    both(tmp_path, first, second)

    assert not [*tmp_path.rglob("hit")]


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT, tarfile.PAX_FORMAT])
def test_names_with_dots_slashes_and_every_form_of_tar(tmp_path: Path, form: int) -> None:
    first = made(("./", "/", 0o755), ("./a/", "/", 0o755), ("./a/f", " 1", 0o600), form=form)
    second = made(("/a/g", " 2", 0o644), ("./a/f", " 2", 0o755), ("a//h", " 2", 0o755), form=form)
    third = made(("./a/./i", " 3", 0o644), ("a/f", " 3", 0o4755), ("a/f", " 4", 0o644), form=form)

    assert {"a/f": "4", "a/g": "2", "a/h": "2", "a/i": "3"} == both(
        tmp_path, first, second, layer({}), third
    )


def test_long_names_large_numbers_and_holes(tmp_path: Path) -> None:
    long = "/".join(["n" * 120] * 5)
    member = tarfile.TarInfo(f"{long}/late")
    member.mtime, member.uid, member.gid, member.mode = 1 << 40, 1 << 30, 1 << 30, 0o644
    member.pax_headers = {"LIBARCHIVE.creationtime": "7", "SCHILY.xattr.user.x": "y"}
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(member)
    sparse = tmp_path / "sparse"
    with sparse.open("wb") as stream:
        stream.seek(3 << 20)
        stream.write(b"end")
    holes = tmp_path / "holes.tar"
    tarred = ["tar", "-C", str(tmp_path), "--sparse", "-cf", str(holes), "sparse"]
    subprocess.run(tarred, check=True)

    both(tmp_path, plain(("a", " a")), written.getvalue(), holes.read_bytes())

    root = tmp_path / "given/root"
    assert (root / long / "late").exists()
    assert (root / "sparse").read_bytes() == sparse.read_bytes()
    assert (root / "sparse").stat().st_blocks * 512 < 1 << 20


@pytest.mark.parametrize("user", USERS)
def test_modes_that_shut_out_their_owner(tmp_path: Path, user: int | None) -> None:
    first = made(("a/", "/", 0), ("a/f", " 1", 0), ("b/", "/", 0o111), ("b/s", " s", 0o4111))
    second = made(
        ("a/g", " 2", 0o200), ("b/", "/", 0o1777), ("c/", "/", 0o2000), ("c/h", " 3", 0o644)
    )
    for name, packed in (("given", second), ("packed", gzip.compress(second))):
        (tmp_path / name).mkdir()
        root = tmp_path / name / "root"

        done = unpack(root, first, packed, user=user)

        assert done.returncode == 0, done.stdout + done.stderr
        kept = {path: (root / path).stat().st_mode & 0o7777 for path in ("a/f", "a/g", "b/s", "b")}
        assert {"a/f": 0, "a/g": 0o200, "b/s": 0o4111, "b": 0o1777} == kept


HOSTILE: Final = {
    "through a link of the same layer to one of a layer below": [
        plain(("way", "@{out}")),
        plain(("a", "@way"), ("a/in", " x")),
    ],
    "through a hard link to a link": [
        plain(("way", "@{out}")),
        plain(("a", "=way"), ("a/in", " x")),
    ],
    "a hard link to what lies outside": [
        plain(("way", "@{out}")),
        made(("x", "=way/victim", 0o777), ("x", " changed", 0o777)),
    ],
    "a hard link through a link of the same layer": [
        plain(("way", "@{out}")),
        made(("a", "@way", 0o777), ("x", "=a/victim", 0o777), ("x", " changed", 0o777)),
    ],
    "a hard link up and out": [made(("a/x", "=../../../../../..{out}/victim", 0o600))],
    "a mode through a link": [
        plain(("way", "@{out}")),
        made(("way/", "/", 0o700), ("way", "@{out}", 0o777)),
    ],
    "a folder that becomes a link": [
        made(("a/", "/", 0), ("a", "@{out}", 0o777)),
        made(("b/", "/", 0), ("b", "@{out}", 0o777)),
    ],
    "a white-out behind a newline": [
        plain(("a\nb/way", "@{out}"), ("a/", "/")),
        plain(("a/", "/"), ("a\nb/way/.wh.victim", " "), ("a\nb/way/.wh..wh..opq", " ")),
    ],
    "an image whose root is a link": [plain((".", "@{out}"), ("in", " x"))],
    "a time that is none": [
        plain(("way", "@{out}")),
        plain(("x:00 y", "@way"), ("x:00 y/in", " x")),
    ],
    "a name with an arrow": [
        plain(("way", "@{out}")),
        plain(("a -> b", "@way"), ("a -> b/in", " x"), ("a", "@way"), ("a/in", " x")),
    ],
}


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("layers", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_layer_changes_nothing_outside(
    tmp_path: Path, layers: list[bytes], user: int | None
) -> None:
    out = tmp_path / "o"
    out.mkdir()
    (out / "victim").write_text("as it was")
    modes = {out: 0o300, out / "victim": 0o600}
    for path, mode in modes.items():
        path.chmod(mode)
        if user:
            os.chown(path, user, user)
    for name, pack in (("given", bytes), ("packed", gzip.compress)):
        (tmp_path / name).mkdir()
        first, *later = [_led_to(each, str(out)) for each in layers]
        unpack(tmp_path / name / "root", first, *map(pack, later), user=user)

        assert ["victim"] == [path.name for path in out.iterdir()]
        assert "as it was" == (out / "victim").read_text()
        assert modes == {path: path.stat().st_mode & 0o7777 for path in modes}


def _led_to(content: bytes, path: str) -> bytes:
    written = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(content)) as old,
        tarfile.open(fileobj=written, mode="w", format=tarfile.PAX_FORMAT) as new,
    ):
        for member in old:
            data = old.extractfile(member) if member.isreg() else None
            member.linkname = member.linkname.replace("{out}", path)
            new.addfile(member, data)
    return written.getvalue()


NAMES: Final = ("a", "b", "a/a", "a/b", "b/a", "a/b/a", "b/b/b")


def _drawn(chance: random.Random, *, first: bool) -> bytes:
    members: list[tuple[str, str, int]] = []
    for _ in range(chance.randint(0, 6)):
        name = chance.choice(NAMES)
        text = chance.choice([" x", " y", "/", "/", "@a", "@b", "@/a", "@/o", "=a", "=b/a", "!"])
        if text == "!":
            folder, _, last = name.rpartition("/")
            name = f"{folder}{folder and '/'}.wh.{chance.choice([last, '.wh..opq'])}"
            text = " "
        if not (first and text[0] == "="):
            members.append((name, text, chance.choice([0o755, 0o700, 0o555])))
    return made(*members)


@pytest.mark.parametrize("seed", range(12))
def test_whichever_way_a_layer_goes_the_root_is_the_same(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311  # no secret
    layers = [_drawn(chance, first=number == 0) for number in range(4)]
    ended = []
    for name, pack in (("given", bytes), ("packed", gzip.compress)):
        (tmp_path / name).mkdir()
        root = tmp_path / name / "root"
        done = unpack(root, layers[0], *map(pack, layers[1:]))
        ended.append((done.returncode, done.returncode or seen(root)))
    assert ended[0] == ended[1]


def test_killed_at_any_moment_it_is_done_anew(tmp_path: Path) -> None:
    """Whenever that is: what stands at the end is the whole image."""
    many = {f"d{number % 20}/{number}": "x" * 3000 for number in range(600)}
    layers = [
        layer(many),
        layer({"d3/.wh.3": "", "d4/later": "4"}),
        gzip.compress(layer({"d5/z": ""})),
    ]
    clean = tmp_path / "clean"
    clean.mkdir()
    begun = time.monotonic()
    assert unpack(clean / "root", *layers).returncode == 0
    takes_s = time.monotonic() - begun
    for seed in range(20):
        after_s = takes_s * random.Random(seed).random()  # noqa: S311  # no secret
        with suppress(subprocess.TimeoutExpired):
            unpack(tmp_path / "root", *layers, killed_after_s=after_s)
    assert unpack(tmp_path / "root", *layers).returncode == 0

    assert seen(clean / "root") == seen(tmp_path / "root")


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """Return a disk of a megabyte."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False).returncode:
        pytest.skip("needs root to mount a small disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_breaks_no_layer(small: Path) -> None:
    place = small.parent / "place"
    place.mkdir()
    big = [layer({name: "x" * 900_000}) for name in ("a", "b")]

    done = unpack(small / "root", *big, beside=place)

    assert done.returncode == 1
    assert re.search("tar cannot unpack the layer .*: No space left on device", done.stdout)
    assert not [*place.glob("*.broken")]
