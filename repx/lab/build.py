"""From lab.yaml to a finished Lab beside the link that names it."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from repx import __version__
from repx.errors import InputError, RepxError
from repx.lab import assemble, checks, definition, expand, image_build
from repx.lab import record as records
from repx.lab.record import LABS, Record
from repx.lab.seen import Looks
from repx.lab.sources import Sources

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from repx.errors import Problem
    from repx.lab.blueprint import Blueprint
    from repx.lab.checks import Tool
    from repx.lab.expand.lab import Add


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """What a build made; ``jobs_by_run`` is empty when the same Lab was there already.

    ``before`` is the Lab that the link named before, by its folder's name.
    """

    path: Path
    lab_id: str
    new: bool
    before: str | None
    jobs: int
    jobs_by_run: Mapping[str, int]
    runs: tuple[str, ...]
    stages: int
    warnings: tuple[Problem, ...]


def build(
    source: Path, link: Path, tool: Tool, progress: Callable[[int, int], None] | None = None
) -> Built:
    """Build ``source`` into ``.repx/labs`` beside ``link`` and point ``link`` at it.

    The same input gives the same Lab, so what is there already is not built again. Raises
    ProblemsError with every mistake, InputError when ``link`` is not a link.
    """
    _check_link(link)
    before = records.read(link)
    sources = Sources(looks=_first_look(source, before))
    described = definition.load(source)
    image = image_build.read(described, sources)
    in_lab = image_build.place(image) if image else None
    blueprint = assemble.blueprint_of(described, sources, in_lab)
    if described.errors:
        checks.syntax(described, tool)
    described.stop()
    lab_id = expand.lab_id(blueprint)
    home = link.parent / LABS
    place = home / f"{lab_id}-{_file_name(described.name)}"
    new = not place.exists()
    jobs: Mapping[str, int] = {}
    if new:
        checks.syntax(described, tool)
        described.stop()
        add = partial(image_build.add, image, tuple(described.runs)) if image else None
        jobs = _expand(blueprint, place, progress, add)
    named = records.target(link)
    _point(link, Path(LABS, place.name))
    earlier = before.before if before and named == place.name else named
    records.write(link, _record(link, source, place.name, lab_id, sources, earlier))
    return Built(
        path=place,
        lab_id=lab_id,
        new=new,
        before=named,
        jobs=len(os.listdir(place / "jobs")),  # noqa: PTH208  # a Path per job is slow
        jobs_by_run=jobs,
        runs=tuple(described.runs),
        stages=len(described.stages),
        warnings=tuple(sorted(set(described.warnings))),
    )


def _first_look(source: Path, before: Record | None) -> Looks:
    """Look at lab.yaml before it is read: a change from now on is noticed later."""
    real = source.resolve()
    looks = Looks(folder=real.parent, known=before.files if before else {})
    with suppress(OSError):  # told when it is read
        looks.at(real)
    return looks


def _record(
    link: Path, source: Path, lab: str, lab_id: str, sources: Sources, earlier: str | None
) -> Record:
    return Record(
        lab=lab,
        lab_id=lab_id,
        repx=__version__,
        source=os.path.relpath(source, link.parent),
        files=sources.looks.files,
        listings=sources.listings,
        before=earlier,
    )


def _check_link(link: Path) -> None:
    if link.exists() and not link.is_symlink():
        kind = "folder" if link.is_dir() else "file"
        raise InputError(
            f"{link} is a {kind}, not the link to an earlier Lab: it is not replaced",
            hint=f"move it away, or choose another name: repx build -o {link.name}-2",
        )


def _expand(
    blueprint: Blueprint,
    place: Path,
    progress: Callable[[int, int], None] | None,
    add: Add | None,
) -> Mapping[str, int]:
    """Write the Lab beside its place, then rename it: a Lab that is there is whole."""
    part = place.with_name(f"{place.name}.part")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with _alone(place.parent):
            for left in place.parent.glob("*.part"):  # by a build that was killed
                shutil.rmtree(left)
            try:
                jobs = expand.expand(blueprint, os.fspath(part), progress, add)
                if not place.exists():  # else another build was faster
                    part.rename(place)
            finally:
                shutil.rmtree(part, ignore_errors=True)
            return jobs
    except expand.BlueprintError as error:
        raise InputError(str(error)) from error
    except OSError as error:
        raise RepxError(f"cannot write {place}: {error.strerror}") from error


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let one build at a time write to a folder, which git is told to ignore."""
    ignore = folder.parent / ".gitignore"
    if not ignore.exists():
        ignore.write_text("*\n", encoding="utf-8")
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _point(link: Path, target: Path) -> None:
    """Replace the link at once: readers see the old Lab or the new one."""
    part = link.with_name(f"{link.name}.part")
    try:
        part.unlink(missing_ok=True)
        part.symlink_to(target)
        part.replace(link)
    except OSError as error:
        raise RepxError(f"cannot write {link}: {error.strerror}") from error


def _file_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._+-]", "_", name)[:100]
