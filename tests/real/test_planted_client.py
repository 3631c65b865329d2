"""A link planted anywhere that a command writes in a store leads nothing out of the store."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from repx import assets, engine, plan, pulling, store
from repx.errors import RepxError
from repx.lab.load import open_lab
from repx.plan import Wish
from repx.status import JobState, State
from repx.target import Resources, RuntimeName, Target
from tests.image_labs import layer, with_image

if TYPE_CHECKING:
    from repx.lab.load import OpenLab
    from tests.real.place import Place

KEPT: Final = "mine\n"
STRANGER: Final = 20000
JOB: Final = "outputs/0000-job"
Act = Callable[[Path], object]


def _submit(opened: OpenLab, base: Path) -> None:
    target = Target(name="here", base_path=str(base))
    pending = JobState(state=State.PENDING)
    made = plan.make(
        opened.lab,
        Wish(jobs=tuple(opened.lab.jobs)),
        dict.fromkeys(opened.lab.jobs, pending),
        resources=lambda job, run, phase: Resources(),  # noqa: ARG005
        runtimes=(RuntimeName.BWRAP,),
    )
    engine.submit(opened, made, store.local(str(base)), target)


def _pull(source: Path, outputs: str | None, base: Path) -> None:
    pulling.pull(store.local(str(source)), store.local(str(base)), ["0000-job"], outputs)


def _note(base: Path) -> None:
    place = store.local(str(base))
    place.append("submissions/s/cancelled", b"all\n")
    place.write("submissions/s/ended", b"1\n")
    place.write(f"{JOB}/repx/old/FAIL", b"")
    place.remove(f"{JOB}/repx/old/FAIL", f"{JOB}/repx/old/none")


@pytest.fixture
def acts(labs: Path, tmp_path: Path) -> Mapping[str, Act]:
    """Return what writes to a store, by name."""
    lab = open_lab(with_image(labs / "simple-two-runs", tmp_path / "lab", [layer({"a": "1"})]))
    source = tmp_path / "source"
    for name, text in {"out/a/b.txt": "new", "out/c.txt": "new", "repx/SUCCESS": "{}\n"}.items():
        (source / JOB / name).parent.mkdir(parents=True, exist_ok=True)
        (source / JOB / name).write_text(text)
    return {
        "run": partial(_submit, lab),
        "pull": partial(_pull, source, None),
        "pull some": partial(_pull, source, "*"),
        "note": _note,
    }


def _victim(place: Path, like: Path, *, flat: bool) -> None:
    """Make what a link leads to: the same names as there, or all of them files."""
    if like.is_dir():
        place.mkdir(parents=True)
        for each in like.iterdir():
            if each.is_symlink() or flat:
                (place / each.name).write_text(KEPT)
            else:
                _victim(place / each.name, each, flat=False)
    else:
        place.write_text(KEPT)


def _seen(victim: Path) -> dict[str, str]:
    if not victim.is_dir():
        return {"": victim.read_text() if victim.exists() else "nothing"}
    found = sorted(victim.rglob("*"))
    return {str(path): path.read_text() if path.is_file() else "" for path in found}


def _planted(made: Path, *, flat: bool) -> list[Path]:
    """Return where to plant links: all folders, and one file in each, unless it is about folders.

    A submission has a name that nobody can foresee; a link of one's own in its place is one to a
    folder of `repx render`, so only root can plant one for this test.
    """
    ours = [] if os.geteuid() == 0 else [Path("submissions/s")]
    found: dict[tuple[Path, bool], Path] = {}
    for path in sorted(made.rglob("*")):
        key = path.relative_to(made)
        is_known = key.parts[0] != "submissions" or key.parts[1:2] in ((), ("s",))
        if is_known and path.is_dir():
            found[key, True] = key
        elif is_known and not flat:
            found.setdefault((key.parent, False), key)
    return [key for key in found.values() if key not in ours]


def _refusal(act: Act, base: Path) -> str:
    """Return why an act was refused; what stands in the place of a link instead is good, too."""
    try:
        act(base)
    except RepxError as refused:
        return refused.message
    return "the link was replaced"


@pytest.mark.parametrize("flat", [False, True], ids=["same", "flat"])
@pytest.mark.parametrize("name", ["run", "pull", "pull some", "note"])
def test_no_command_writes_through_a_link(
    acts: Mapping[str, Act], tmp_path: Path, name: str, *, flat: bool
) -> None:
    first = tmp_path / "first"
    acts[name](first)
    for number, path in enumerate(_planted(first, flat=flat)):
        base, victim = tmp_path / f"store{number}", tmp_path / f"victim{number}"
        _victim(victim, first / path, flat=flat)
        (base / path).parent.mkdir(parents=True)
        (base / path).symlink_to(victim)
        if os.geteuid() == 0:
            os.chown(base / path, STRANGER, STRANGER, follow_symlinks=False)
        before = _seen(victim)

        assert "link" in _refusal(acts[name], base), path
        assert before == _seen(victim), path


GONE: Final = ("images", "images/x", "images/x.lock", "images/x.gone.1")


@pytest.mark.parametrize("path", ["", *GONE])
@pytest.mark.parametrize("there", [True, False], ids=["folder", "nothing"])
def test_images_are_not_removed_through_a_link(tmp_path: Path, path: str, *, there: bool) -> None:
    node, victim = tmp_path / "node", tmp_path / "victim"
    if there:
        for name in ("images/x/a", "x/a", "a"):
            (victim / name).parent.mkdir(parents=True, exist_ok=True)
            (victim / name).write_text(KEPT)
    if path == "images/x.lock":
        (node / "images/x").mkdir(parents=True)
    (node / path).parent.mkdir(parents=True, exist_ok=True)
    (node / path).symlink_to(victim)
    before = _seen(victim)

    script = assets.path("templates/collect-images.sh")
    done = subprocess.run(
        ["bash", str(script), str(tmp_path / "store"), str(node), "0", ""],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": "/usr/bin:/bin"},
    )

    assert before == _seen(victim), done.stdout
    if there and path in ("", "images"):
        assert "is a link" in done.stdout


@pytest.mark.needs("bwrap")
def test_images_are_not_unpacked_through_a_link(
    isolated: Callable[..., Place], tmp_path: Path
) -> None:
    lab = {
        "stages": {"one": {"outputs": {"o": "$out/o"}, "run": 'echo it ran >"$out/o"'}},
        "pipelines": {"p": ["one"]},
        "runs": {"r": {}},
    }
    here = isolated(lab, "bwrap")
    here.repx("run")
    cache = here.store / "cache"
    (image,) = (each for each in (cache / "images").iterdir() if each.is_dir())
    cache.rename(tmp_path / "before")
    names = ("", "images", f"images/{image.name}", f"images/{image.name}.lock")
    for number, name in enumerate(names):
        victim = tmp_path / f"elsewhere{number}"
        if not name.endswith(".lock"):
            victim.mkdir()
        (cache / name).parent.mkdir(parents=True, exist_ok=True)
        (cache / name).symlink_to(victim)
        before = _seen(victim)

        said = here.repx("run", "--force", "r", code=1)

        assert "a link stands where" in said, said
        assert before == _seen(victim), name
        cache.rename(tmp_path / f"after{number}")
