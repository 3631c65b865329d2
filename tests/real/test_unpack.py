"""Layers become a root folder: in order, with white-outs and modes, and never out of the root."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import shutil
import signal
import subprocess
import tarfile
from pathlib import Path

import pytest

from repx import assets
from tests.image_labs import layer

USER = 20000


def unpack(  # each is one fault
    root: Path,
    *layers: bytes,
    user: int | None = None,
    sums: list[str] | None = None,
    beside: Path | None = None,
    killed_after_s: float | None = None,
) -> subprocess.CompletedProcess[str]:
    """Unpack layers into a folder, as a job would on a node; the exit code is 1 where it cannot.

    The layers lie in ``beside``, or beside the root.
    """
    words = []
    for number, content in enumerate(layers):
        path = (beside or root.parent) / f"layer {number}:x"
        path.write_bytes(content)
        words += [str(path), sums[number] if sums else hashlib.sha256(content).hexdigest()]
    script = '. "$1" && umask 022 && { repx_unpack "${@:2}" || { echo "$repx_why"; exit 1; }; }'
    become: list[str] = []
    if user is not None:
        if os.geteuid() != 0 or shutil.which("setpriv") is None:
            pytest.skip("needs root and setpriv to become an ordinary user")
        become = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"]
        os.chown(root.parent, user, user)
        for above in root.parents:
            if above.stat().st_uid == 0 and not above.stat().st_mode & 0o001:
                above.chmod(above.stat().st_mode | 0o011)
    library = (beside or root.parent) / "unpack.sh"
    library.write_text(assets.path("templates/unpack.sh").read_text())
    process = subprocess.Popen(
        [*become, "bash", "-c", script, "bash", str(library), str(root), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=killed_after_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def tree(root: Path) -> dict[str, str]:
    """Return what the layers made: files with their text, links with their target."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}"
        elif path.is_file():
            found[name] = path.read_text()
    return found


BASE = layer(
    {
        "etc/": "",
        "data/": "",
        "data/one": "1",
        "data/two": "2",
        "opt/": "",
        "opt/x/": "",
        "opt/x/a": "a",
    }
)
FILLED = {"etc/passwd", "etc/group", "etc/hosts", "etc/nsswitch.conf", "etc/resolv.conf"}
USERS = [None, USER]


@pytest.mark.parametrize("user", USERS)
def test_later_layers_add_replace_and_take_away(tmp_path: Path, user: int | None) -> None:
    second = layer(
        {"data/.wh.one": "", "data/two": "two", "opt/x/.wh..wh..opq": "", "opt/x/b": "b"}
    )
    root = tmp_path / "root"

    done = unpack(root, BASE, gzip.compress(second), user=user)

    assert 0 == done.returncode, done.stdout + done.stderr
    made = {name: text for name, text in tree(root).items() if name not in FILLED}
    assert {"data/two": "two", "opt/x/b": "b"} == made


def test_marks_of_the_first_layer_take_nothing_away(tmp_path: Path) -> None:
    """They tell of layers below, and there is none: their own layer's files stay."""
    first = layer({"a/": "", "a/.wh..wh..opq": "", "a/kept": "1", ".wh.b": "", "b": "2"})
    root = tmp_path / "root"

    assert 0 == unpack(root, first).returncode

    made = {name: text for name, text in tree(root).items() if name not in FILLED}
    assert {"a/kept": "1", "b": "2"} == made
    assert not list(root.rglob(".wh.*"))


def test_a_mode_is_that_of_the_last_layer_also_of_what_was_taken_away_between(
    tmp_path: Path,
) -> None:
    first, gone = layer({"a/": "", "a/f": "1"}, mode=0o700), layer({".wh.a": ""})
    again, last = layer({"a/g": "2"}), layer({"a/": "", "a/h": "3"}, mode=0o700)
    root = tmp_path / "root"

    assert 0 == unpack(root, first, gone, again, last).returncode

    assert 0o700 == (root / "a").stat().st_mode & 0o777
    assert ["g", "h"] == sorted(path.name for path in (root / "a").iterdir())


@pytest.mark.parametrize("user", USERS)
def test_modes_are_kept_also_of_what_nobody_may_write(tmp_path: Path, user: int | None) -> None:
    first = layer(
        {"nix/": "", "nix/store/": "", "nix/store/a/": "", "nix/store/a/f": "a"}, mode=0o555
    )
    second = layer(
        {"nix/": "", "nix/store/": "", "nix/store/b/": "", "nix/store/b/f": "b"}, mode=0o555
    )
    third = layer({"nix/store/a/": "", "nix/store/a/g": "g"}, mode=0o750)
    root = tmp_path / "root"

    done = unpack(root, first, second, third, user=user)

    assert 0 == done.returncode, done.stdout + done.stderr
    modes = {
        path: (root / path).stat().st_mode & 0o777
        for path in (
            "nix",
            "nix/store",
            "nix/store/a",
            "nix/store/a/f",
            "nix/store/a/g",
            "nix/store/b",
        )
    }
    assert {"nix": 0o555, "nix/store": 0o555, "nix/store/a": 0o750, "nix/store/a/f": 0o555,
            "nix/store/a/g": 0o750, "nix/store/b": 0o555} == modes  # fmt: skip


def test_file_replaces_folder_and_folder_replaces_file(tmp_path: Path) -> None:
    second = layer({"data": "a file now", "opt/x/a/": "", "opt/x/a/deep": "deep"})
    root = tmp_path / "root"

    assert 0 == unpack(root, BASE, second).returncode

    assert "a file now" == (root / "data").read_text()
    assert "deep" == (root / "opt/x/a/deep").read_text()


def test_link_to_a_folder_is_followed_inside_the_root_where_a_layer_only_goes_through(
    tmp_path: Path,
) -> None:
    first = layer({"usr/": "", "usr/bin/": "", "usr/bin/a": "a"}, {"bin": "usr/bin", "lib": "/usr"})
    root = tmp_path / "root"

    assert 0 == unpack(root, first, layer({"bin/b": "b", "lib/c": "c"})).returncode

    assert ("a", "b", "c") == tuple(
        (root / name).read_text() for name in ("usr/bin/a", "usr/bin/b", "usr/c")
    )
    assert "usr/bin" == str((root / "bin").readlink())


WAY = layer({}, {"way": "{out}"})
LONG_WAY = layer({}, {"way": "../../../../../../../../{out}"})
HOSTILE = {
    "through a link of a layer below": [WAY, layer({"way/in": "x"})],
    "through a link of the same layer": [
        layer({"a": "a"}, {"way": "{out}"}),
        layer({"way/in": "x"}),
    ],
    "through a relative link": [
        layer({}, {"way": "../../../../../../../../{out}"}),
        layer({"way/in": "x"}),
    ],
    "white-out through a link": [WAY, layer({"way/.wh.victim": ""})],
    "opaque folder through a link": [WAY, layer({"way/.wh..wh..opq": ""})],
    "white-out of the folder above": [layer({"a/": ""}), layer({"a/.wh...": "", ".wh...": ""})],
    "white-out of nothing": [layer({"a/": ""}), layer({"a/.wh.": "", "a/.wh..": ""})],
    "folder over a link": [WAY, layer({"way/": "", "way/in": "x"})],
    "names of the completed root": [layer({}, {"etc": "{out}", "tmp": "{out}", "bin": "{out}"})],
    "a file of the completed root": [layer({"etc/": ""}, {"etc/passwd": "{out}/victim"})],
    "dots in a name": [layer({"../../../{out}/in": "x"})],
}


@pytest.mark.parametrize("layers", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_layer_changes_nothing_outside(tmp_path: Path, layers: list[bytes]) -> None:
    out = tmp_path / "o"
    out.mkdir()
    (out / "victim").write_text("as it was")
    # The headers of a tar have fixed widths, so a path of the same length takes the place.
    short = Path(f"/tmp/{os.getpid() % 10000:04}o")  # noqa: S108  # must be short
    short.symlink_to(out)
    try:
        filled = [_with_path(content, str(short)) for content in layers]
        (tmp_path / "deep").mkdir()
        unpack(tmp_path / "deep" / "root", *filled)
    finally:
        short.unlink()

    assert ["victim"] == [path.name for path in out.iterdir()]
    assert "as it was" == (out / "victim").read_text()
    assert {"o", "deep"} == {path.name for path in tmp_path.iterdir()}


def _with_path(content: bytes, path: str) -> bytes:
    made = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(content)) as old,
        tarfile.open(fileobj=made, mode="w") as new,
    ):
        for member in old:
            data = old.extractfile(member) if member.isreg() else None
            member.name = member.name.replace("{out}", path)
            member.linkname = member.linkname.replace("{out}", path)
            new.addfile(member, data)
    return made.getvalue()


def test_a_tampered_layer_is_refused(tmp_path: Path) -> None:
    done = unpack(tmp_path / "root", BASE, sums=["0" * 64])

    assert 1 == done.returncode
    assert "layer broken" in done.stdout


def test_a_layer_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    done = unpack(tmp_path / "root", BASE[:700], sums=[hashlib.sha256(BASE).hexdigest()])

    assert 1 == done.returncode
    assert "layer broken" in done.stdout


def test_what_is_no_tar_is_refused(tmp_path: Path) -> None:
    done = unpack(tmp_path / "root", b"no tar at all" * 100)

    assert 1 == done.returncode
    assert "cannot unpack" in done.stdout


def test_what_every_program_may_expect_is_added_and_what_is_there_is_kept(tmp_path: Path) -> None:
    root = tmp_path / "root"
    image = layer({"nix/store/abc-bash-5/bin/bash": "#!", "etc/": "", "etc/hosts": "mine"})

    assert 0 == unpack(root, image).returncode

    for name in ("dev", "proc", "sys", "tmp", "run", "var"):
        assert (root / name).is_dir()
    assert "/nix/store/abc-bash-5/bin/bash" == str((root / "bin/sh").readlink())
    assert "root:x:0:0" in (root / "etc/passwd").read_text()
    assert "mine" == (root / "etc/hosts").read_text()


def test_device_nodes_are_left_out(tmp_path: Path) -> None:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for name in ("dev/sda", "srv/sda"):
            member = tarfile.TarInfo(name)
            member.type, member.devmajor, member.devminor = tarfile.BLKTYPE, 8, 0
            member.mode = 0o666
            tar.addfile(member)
    root = tmp_path / "root"

    unpack(root, made.getvalue())

    assert [] == [path for path in root.rglob("*") if path.is_block_device()]


@pytest.mark.parametrize("user", USERS)
def test_unpacking_over_what_a_killed_process_left(tmp_path: Path, user: int | None) -> None:
    root = tmp_path / "root"
    for name in ("root.layer/x", "root.layer/y"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "root.layer/x").chmod(0o555)
    if user is not None and os.geteuid() == 0:
        subprocess.run(["chown", "-R", str(user), tmp_path / "root.layer"], check=True)

    done = unpack(root, BASE, user=user)

    assert 0 == done.returncode, done.stdout + done.stderr
    assert "1" == (root / "data/one").read_text()


def cpu_of_children() -> float:
    """Return the CPU time of all processes that ended, in seconds; other load does not count."""
    used = os.times()
    return used.children_user + used.children_system


def test_unpacking_costs_little_more_than_tar(tmp_path: Path) -> None:
    """A figure for whoever looks (-s); a bound that only a change of kind can miss."""
    many = layer({"a/": "", **{f"a/{number}": "x" * 2000 for number in range(5000)}})
    plain = tmp_path / "plain"
    plain.mkdir()
    (tmp_path / "many.tar").write_bytes(many)
    begun = cpu_of_children()
    subprocess.run(["tar", "-x", "-f", tmp_path / "many.tar", "-C", plain], check=True)
    alone = cpu_of_children() - begun

    begun = cpu_of_children()
    assert 0 == unpack(tmp_path / "root", many).returncode
    ours = cpu_of_children() - begun

    print(f"tar {alone:.2f} s of CPU time, unpack {ours:.2f} s")  # noqa: T201
    assert ours < 4 * alone + 1
