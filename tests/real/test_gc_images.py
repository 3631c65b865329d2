"""`repx gc --images` frees nodes of images that nothing needs, and of no others."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests import image_labs
from tests.real.runtime_place import RUNTIMES

if TYPE_CHECKING:
    from tests.real.place import Place
    from tests.real.sshd import Sshd

LAB: Final[dict[str, object]] = {
    "stages": {"one": {"outputs": {"o": "$out/o"}, "run": 'echo it ran >"$out/o"'}},
    "pipelines": {"p": ["one"]},
    "runs": {"r": {}},
}
DAY: Final = 86400


def collected(here: Place, *words: str) -> list[dict[str, Any]]:
    process = here.start("gc", "--images", "--json", *words)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    found: list[dict[str, Any]] = json.loads(out)
    return found


@pytest.fixture
def short() -> Iterator[Path]:
    """Return a folder with a short path: podman takes no runroot of more than 50 characters."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:  # as nodes have it
        yield Path(folder)
        subprocess.run(
            ["umount", "-R", f"{folder}/repx/podman/overlay"],
            check=False,
            stderr=subprocess.DEVNULL,
        )


@pytest.mark.needs("images")
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_what_no_job_used_for_long_goes_and_comes_back(
    isolated: Callable[..., Place], short: Path, runtime: str
) -> None:
    # An image of this test alone: docker's daemon has what other tests brought.
    mine = (image_labs.shell_layer(), image_labs.layer({"mine": str(short)}))
    here = isolated(LAB, runtime, mine, node_local_path=str(short))
    here.repx("run")
    submissions = here.store / "submissions"
    if any(submissions.iterdir()):
        (found,) = collected(here, "--unused-for", "0")
        assert found["done"] == "kept: a submission may need it"
        (here.store / "closed").mkdir(exist_ok=True)
        for each in submissions.iterdir():
            each.rename(here.store / "closed" / each.name)

    (found,) = collected(here)
    assert (found["done"], found["unused_s"] < DAY) == ("kept: used lately", True)
    (found,) = collected(here, "--unused-for", "0", "--dry-run")
    assert found["done"] == "would be removed"
    assert found["size_bytes"] > 0
    (found,) = collected(here, "--unused-for", "0")
    assert found["done"] == "removed"
    assert [] == collected(here, "--unused-for", "0")

    here.repx("run", "--force", "r")
    assert ["it ran\n"] == here.output("*-one-*/out/o")


@pytest.fixture
def node(empty: Place) -> Callable[..., Path]:
    """Return a maker of unpacked images: a name, days since its use, whether the store has it."""

    def make(name: str, days: float, *, in_store: bool = True) -> Path:
        root = empty.store / "cache/images" / name
        (root / "bin").mkdir(parents=True)
        (root / "bin/tool").write_text("x" * 5000)
        (root / "bin").chmod(0o555)
        used = time.time() - days * DAY
        os.utime(root, (used, used))
        if in_store:
            manifest = empty.store / "artifacts/images" / name / "manifest.json"
            manifest.parent.mkdir(parents=True)
            manifest.write_text("[]")
        return root

    return make


def test_age_store_and_submissions_decide(empty: Place, node: Callable[..., Path]) -> None:
    node("0ld", 31)
    node("new", 1)
    node("forgotten", 1, in_store=False)
    node("alive", 99)
    rooms = empty.store / "submissions/s/rooms"
    rooms.mkdir(parents=True)
    (rooms / "r.sh").write_text("repx_runtimes=(bwrap)\nrepx_image=alive\nrepx_node=/n\n")
    left = empty.store / "cache/images/gone.gone.77"
    left.mkdir()

    found = collected(empty)

    assert {"new", "alive"} == {
        path.name for path in (empty.store / "cache/images").iterdir() if path.is_dir()
    }
    assert {
        "0ld": "removed",
        "new": "kept: used lately",
        "forgotten": "removed",
        "alive": "kept: a submission may need it",
    } == {each["image"]: each["done"] for each in found}
    assert "0B freed" in empty.repx("gc", "--images")


def test_what_another_store_on_the_same_disk_may_need_stays(
    empty: Place, node: Callable[..., Path], tmp_path: Path
) -> None:
    others = {name: tmp_path / name for name in ("other store", "idle", "gone")}
    for name in ("needed", "packages", "known", "idle"):
        root = node(name, 99, in_store=False)
        root.with_name(f"{name}.stores").write_text(
            "".join(f"{each}\n" for each in others.values())
        )
    rooms = others["other store"] / "submissions/s/rooms"
    rooms.mkdir(parents=True)
    (rooms / "a.sh").write_text("repx_image=needed\n")
    (rooms / "b.sh").write_text("repx_image=''\nrepx_packages=packages\n")
    manifest = others["idle"] / "artifacts/images/known/manifest.json"
    manifest.parent.mkdir(parents=True)
    manifest.write_text("[]")
    (others["idle"] / "submissions").mkdir()

    found = {each["image"]: each["done"] for each in collected(empty, "--unused-for", "100d")}

    assert {
        "needed": "kept: a submission may need it",
        "packages": "kept: a submission may need it",
        "known": "kept: used lately",
        "idle": "removed",
    } == found
    assert {"needed", "packages", "known"} == {
        path.stem for path in (empty.store / "cache/images").glob("*.stores")
    }


@pytest.mark.needs("images", "bwrap")
def test_stores_that_share_a_folder_of_a_node_keep_what_each_needs(
    isolated: Callable[..., Place], tmp_path: Path
) -> None:
    here = isolated(LAB, "bwrap", node_local_path=str(tmp_path / "node"))
    here.repx("run")
    other = dataclasses.replace(here, store=tmp_path / "other")
    profile = {"runtime": "bwrap", "node_local_path": str(tmp_path / "node")}
    other.use(**profile)
    other.repx("run")

    (noted,) = (tmp_path / "node/repx/images").glob("*.stores")

    assert [str(here.store), str(other.store)] == noted.read_text().splitlines()


def test_an_image_that_is_being_unpacked_stays(empty: Place, node: Callable[..., Path]) -> None:
    root = node("busy", 99)
    lock = root.with_name("busy.lock")
    with subprocess.Popen(["flock", lock, "cat"], stdin=subprocess.PIPE) as holder:
        empty.wait_until(lambda: subprocess.call(["flock", "-n", lock, "true"]))
        (found,) = collected(empty)
        assert holder.stdin is not None
        holder.stdin.close()

    assert found["done"] == "kept: it is being unpacked"
    assert root.exists()


def test_a_command_may_stand_before_it(empty: Place, node: Callable[..., Path]) -> None:
    node("0ld", 31)

    (found,) = collected(empty, "--via", "env HOSTNAME=n7")

    assert ("0ld", "removed") == (found["image"], found["done"])
    assert "no closing quotation" in empty.repx("gc", "--images", "--via", "'", code=2).lower()
    assert "name what to remove" in empty.repx("gc", code=2)
    assert "is not a span of time" in empty.repx("gc", "--images", "--unused-for", "x", code=2)


@pytest.mark.needs("ssh")
def test_a_machine_that_ssh_reaches(empty: Place, node: Callable[..., Path], sshd: Sshd) -> None:
    root = node("0ld", 31)
    empty.use(address="far", ssh_config=str(sshd.config))

    (found,) = collected(empty)

    assert ("0ld", "removed") == (found["image"], found["done"])
    assert not root.exists()
