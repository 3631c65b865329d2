"""Where images are unpacked: nobody else may change it, and colleagues do not get in the way."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests import image_labs
from tests.real.people import GROUP
from tests.real.test_runtimes import in_nix_shape
from tests.real.test_shared_store import ANNE, BOB, PAIRS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.real.people import People, Person

pytestmark = [pytest.mark.real, pytest.mark.needs("bwrap"), pytest.mark.needs("images")]

OWN: Final = "set node_local_path to a folder of your own"


def _project(person: Person, name: str, **profile: Any) -> Path:  # noqa: ANN401  # a profile's keys
    """Make a project whose Lab has an image, and runs in bwrap."""
    stage = {"outputs": {"x": "$out/x.txt"}, "run": f'echo {name} >"${{outputs[x]}}"'}
    lab = {"name": name, "stages": {name: stage}, "pipelines": {"p": [name]}, "runs": {"r": {}}}
    folder = person.project(lab, runtime="bwrap", input_wait_s=1, **profile)
    built = folder / "with-image"
    image_labs.with_image(folder / "result", built, [image_labs.shell_layer()])
    (folder / "result").unlink()
    built.rename(folder / "result")
    subprocess.run(["chown", "-R", f"{person.uid}:{person.uid}", folder / "result"], check=True)
    return folder


def _folder(path: Path, owner: int, mode: int) -> None:
    path.mkdir()
    os.chown(path, owner, owner)
    path.chmod(mode)


@pytest.mark.parametrize(
    ("scratch", "ours", "images", "why"),
    [
        (0o1777, None, None, ""),
        (0o1777, (ANNE, 0o755), None, ""),
        (0o777, None, None, "everybody may write to SCRATCH"),
        (0o1777, (BOB, 0o777), None, "SCRATCH/repx belongs to 60002"),
        (0o1777, (ANNE, 0o777), None, "everybody may write to SCRATCH/repx"),
        (0o1777, (ANNE, 0o755), (BOB, 0o777), "SCRATCH/repx/images belongs to 60002"),
        (0o1777, (0, 0o1777), (BOB, 0o777), "SCRATCH/repx/images belongs to 60002"),
        (0o1777, (0, 0o1777), None, ""),
    ],
)
def test_images_are_unpacked_where_nobody_else_may_write(
    people: People,
    scratch: int,
    ours: tuple[int, int] | None,
    images: tuple[int, int] | None,
    why: str,
) -> None:
    anne = people.person(ANNE, 0o000)
    local, store = people.folder / "scratch", people.folder / "store"
    _folder(local, 0, scratch)
    _folder(store, ANNE, 0o755)
    if ours:
        _folder(local / "repx", *ours)
    if images:
        _folder(local / "repx/images", *images)
    project = _project(anne, "mine", base_path=str(store), node_local_path=str(local))

    said = anne.repx("run", cwd=project, code=1 if why else 0)

    if why:
        assert f"{why.replace('SCRATCH', str(local))}" in _unknown(said)
        assert OWN in said
        assert not [path for path in local.rglob("*") if path.name.endswith(".lock")]
    else:
        own = [path for path in (local / "repx").rglob("*") if path.stat().st_uid == ANNE]
        assert local / "repx/images" in own
        assert not (local / "repx/images").stat().st_mode & 0o022


def test_packages_of_an_image_are_not_taken_from_somebody_else_s_folder(people: People) -> None:
    """With ``rootfs: host``, too, a Lab in the shape of Nix runs what lies in the folder."""
    anne = people.person(ANNE, 0o022)
    local, store = people.folder / "scratch", people.folder / "store"
    _folder(local, 0, 0o1777)
    _folder(local / "repx", ANNE, 0o755)
    _folder(local / "repx/images", BOB, 0o777)
    _folder(store, ANNE, 0o755)
    project = _project(
        anne, "mine", base_path=str(store), node_local_path=str(local), rootfs="host"
    )
    in_nix_shape(project / "result")

    said = anne.repx("run", cwd=project, code=1)

    assert f"{local}/repx/images belongs to 60002" in _unknown(said)
    assert OWN in said


def _unknown(said: str) -> str:
    """Return what was said without the place that stands for the name of a user without one."""
    return said.replace("UNKNOWN", "60002")


@pytest.mark.parametrize(("anne", "bob"), PAIRS[:2])
def test_colleagues_unpack_the_images_of_a_shared_store_each_for_themselves(
    people: People, anne: int, bob: int
) -> None:
    store = people.folder / "store"
    _folder(store, 0, 0o2770)
    os.chown(store, 0, GROUP)
    store.chmod(0o2770)
    one, two = people.person(ANNE, anne), people.person(BOB, bob)
    ours = _project(one, "ours", base_path=str(store), share="group")
    theirs = _project(two, "theirs", base_path=str(store), share="group")

    one.repx("run", cwd=ours)
    two.repx("run", cwd=theirs)

    assert "1 succeeded" in one.repx("status", cwd=ours)
    assert "1 succeeded" in two.repx("status", cwd=theirs)
    caches = sorted(path.name for path in (store / "cache").iterdir())
    assert ["images", f"images-{BOB}"] == caches
    said = two.repx("gc", "--images", "--unused-for", "0", "--dry-run", cwd=theirs)
    assert "kept: a submission may need it" in said
