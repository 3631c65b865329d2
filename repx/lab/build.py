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

from repx import __version__, whole
from repx.document import LARGEST
from repx.errors import InputError, RepxError
from repx.lab import assemble, checks, definition, expand, image_build, lockfile
from repx.lab import record as records
from repx.lab.record import HOME, LABS, Record
from repx.lab.seen import Looks
from repx.lab.software.provision import NOTHING, Provider
from repx.lab.sources import Sources

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from repx.errors import Problem
    from repx.lab.blueprint import Blueprint
    from repx.lab.checks import Tool
    from repx.lab.definition import Definition
    from repx.lab.expand.lab import Add
    from repx.lab.expand.writer import Writer
    from repx.lab.images import Image
    from repx.lab.software.programs import Programs
    from repx.lab.software.provision import Provisions


def _no_programs(argv: Sequence[str], cwd: Path) -> None:
    del argv, cwd


def _silent(text: str) -> None:
    del text


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetch:
    """How images and packages are fetched; ``anew``: drop all pins first."""

    programs: Programs = _no_programs
    say: Callable[[str], None] = _silent
    anew: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """The result of a build; ``jobs_by_run`` is empty when the same Lab already existed.

    ``before`` is the folder name of the Lab that the link named before.
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
    source: Path,
    link: Path,
    tool: Tool,
    progress: Callable[[int, int], None] | None = None,
    fetch: Fetch | None = None,
) -> Built:
    """Build ``source`` into ``.repx/labs`` beside ``link`` and point ``link`` at it.

    The same input gives the same Lab, so an existing Lab is not built again. Raises ProblemsError
    with every mistake, InputError when ``link`` is not a link.
    """
    _check_link(link)
    before = records.read(link)
    sources = Sources(looks=_first_look(source, before))
    described = definition.load(source)
    provisions = _provisions(described, sources, source, link, tool, fetch or Fetch())
    blueprint = assemble.blueprint_of(described, sources, provisions)
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
        add = partial(_add_images, blueprint, tuple(provisions.images.values()))
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


def _provisions(
    described: Definition, sources: Sources, source: Path, link: Path, tool: Tool, fetch: Fetch
) -> Provisions:
    """Return the images and packages of a definition; missing ones are fetched last.

    Nothing is downloaded for a definition with mistakes.
    """
    lock = lockfile.read(source)
    if fetch.anew:
        lock.forget()
    provider = Provider(described, sources, lock, link.parent / HOME)
    there = provider.there()
    if there is None:
        if not described.errors:
            assemble.blueprint_of(described, Sources(looks=sources.looks))
        if described.errors:
            return NOTHING
        checks.syntax(described, tool)
        described.stop()
        with _alone(link.parent / LABS):
            there = provider.get(fetch.programs, fetch.say)
    if lock.file.exists():
        sources.looks.at(lock.file)
    return there


def _add_images(
    blueprint: Blueprint, images: tuple[Image, ...], writer: Writer
) -> Mapping[str, str]:
    for image in {image_build.place(image): image for image in images}.values():
        image_build.add(image, writer)
    return blueprint.get("images", {})


def _first_look(source: Path, before: Record | None) -> Looks:
    """Note the state of lab.yaml before it is read, so that any later change is noticed."""
    real = Path(os.path.realpath(source))
    looks = Looks(folder=real.parent, known=before.files if before else {})
    with suppress(OSError):  # reading the file reports the error
        if real.is_file() and real.stat().st_size <= LARGEST:
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
    """Write the Lab to a temporary folder, then rename it: a Lab in its place is complete."""
    part = place.with_name(f"{place.name}.part")
    try:
        with _alone(place.parent):
            for left in place.parent.glob("*.part"):  # left by a killed build
                shutil.rmtree(left)
            try:
                jobs = expand.expand(blueprint, os.fspath(part), progress, add)
                if not place.exists():  # otherwise another build was faster
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
    """Let one build at a time write to a folder; add a .gitignore beside the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    ignore = folder.parent / ".gitignore"
    if not ignore.exists():
        whole.write(ignore, "*\n")
    lock = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _point(link: Path, target: Path) -> None:
    """Replace the link atomically: readers see the old Lab or the new one."""
    part = link.with_name(f".{os.urandom(12).hex()}.part")
    try:
        part.symlink_to(target)
        part.replace(link)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise RepxError(f"cannot write {link}: {error.strerror}") from error


def _file_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._+-]", "_", name)[:100]
