"""``repx build``: lab.yaml becomes a Lab."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from repx import console
from repx.cli.context import command

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from repx.cli.context import Context
    from repx.lab.build import Built

_LONGEST_FETCH_S: Final = 6 * 3600


@command(
    examples="""
    repx build                            lab.yaml here becomes ./result
    repx build study/lab.yaml -o result-2
    repx build --json | jq -r .path
    repx build --update                   pin newer packages and images
    """
)
@click.argument("source", type=click.Path(path_type=Path), default="lab.yaml", metavar="[LAB.YAML]")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default="result",
    metavar="LINK",
    help="The link to the Lab.  [default: ./result]",
)
@click.option(
    "--update", is_flag=True, help="Pin images and packages anew: renew the file lab.lock."
)
def build(context: Context, source: Path, output: Path, *, update: bool) -> None:
    """Turn an experiment's lab.yaml into a Lab that `repx run` executes.

    The Lab is written to .repx/labs beside LINK, under a name made from its content; then LINK
    is pointed at it. What is there already is not built again.

    Images of registries and packages that `software:` names are got once, into .repx; lab.lock
    beside lab.yaml pins them for later builds.
    """
    if source.is_dir():
        source /= "lab.yaml"
    built = make(source, output.absolute(), update=update)
    if context.json:
        console.json(_summary(built))
    else:
        tell(built, output)


def make(source: Path, link: Path, *, update: bool = False) -> Built:
    """Build a Lab, show the warnings, and trust it. Raises what `repx.lab.build.build` does."""
    from repx.config import xdg
    from repx.lab import build as room
    from repx.lab import trust
    from repx.lab.answers import Answers
    from repx.lab.record import HOME

    tool = Answers(_tool, _identity, link.parent / HOME / "answers.json")
    with ExitStack() as stack:
        stack.callback(tool.keep)
        fetch = room.Fetch(programs=_program, say=console.note, anew=update)
        built = room.build(source, link, tool, _progress(stack), fetch)
    for manifest in (built.path / "lab").iterdir():
        trust.remember(manifest.read_bytes(), xdg.state(os.environ))
    for warning in built.warnings:
        console.warn(str(warning))
    return built


def tell(built: Built, output: Path) -> None:
    """Say which Lab a link names now, and what it holds."""
    parts = ((built.jobs, "job"), (len(built.runs), "run"), (built.stages, "stage"))
    counted = ", ".join(f"{number:,} {what}{'s'[: number != 1]}" for number, what in parts)
    lab = f"{output} is Lab {built.lab_id[:12]}: {counted}"
    if not built.new and built.before == built.path.name:
        lab = f"nothing changed, {lab}"
    elif not built.new:
        lab = f"back to Lab {built.lab_id[:12]}: {counted}"
    console.note(lab)
    for run, jobs in built.jobs_by_run.items():
        console.note(f"  {run}: {jobs:,}")


def _summary(built: Built) -> dict[str, object]:
    return {
        "lab": built.lab_id,
        "path": str(built.path),
        "new": built.new,
        "jobs": built.jobs,
        "runs": list(built.runs),
        "stages": built.stages,
        "warnings": [str(warning) for warning in built.warnings],
    }


def _tool(argv: Sequence[str], stdin: str) -> tuple[int, str]:
    from repx.places.command import run

    done = run(argv, stdin=stdin, check=False)
    return done.code, done.stdout + done.stderr


def _program(argv: Sequence[str], cwd: Path) -> tuple[int, str, str] | None:
    """Run a program that gets software; it may download and compile for long."""
    from repx.errors import CommandNotFoundError
    from repx.places.command import run_attached

    try:
        done = run_attached(argv, cwd=cwd, timeout_s=_LONGEST_FETCH_S)
    except CommandNotFoundError:
        return None
    return done.code, done.stdout, done.stderr


def _identity(program: str) -> str | None:
    """Return what changes when another version is installed; None where there is none."""
    from repx.places.command import which

    found = which(program)
    if found is None:
        return None
    info = Path(found).stat()
    return f"{found} {info.st_size} {info.st_mtime_ns}"


def _progress(stack: ExitStack) -> Callable[[int, int], None]:
    shows: list[Callable[[int], None]] = []

    def show(done: int, total: int) -> None:
        if not shows:
            shows.append(stack.enter_context(console.bar("writing jobs", total)))
        shows[0](done)

    return show
