"""``repx init``: a starter project to change."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import click

from repx import assets, console
from repx.cli.context import command
from repx.errors import InputError, RepxError

if TYPE_CHECKING:
    from repx.cli.context import Context


@command(
    examples="""
    repx init my-experiment
    cd my-experiment && repx build && repx run
    """
)
@click.argument("folder", type=click.Path(path_type=Path), default=".", metavar="[DIR]")
def init(context: Context, folder: Path) -> None:
    """Write a small commented experiment to DIR, by default here.

    It builds and runs as it is. Nothing that exists is overwritten.
    """
    shipped = assets.path("templates/init")
    places = {
        each: folder / each.name.replace("gitignore", ".gitignore")
        for each in sorted(shipped.iterdir())
        if each.is_file()
    }
    taken = [place.name for place in places.values() if place.exists() or place.is_symlink()]
    if taken:
        raise InputError(
            f"{folder}: {', '.join(taken)} exists already and is not overwritten",
            hint="name a new folder: repx init my-experiment",
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for source, place in places.items():
            shutil.copy(source, place)
    except OSError as error:
        raise RepxError(f"cannot write to {folder}: {error.strerror}") from error
    written = sorted(str(place) for place in places.values())
    if context.json:
        console.json({"files": written})
        return
    for path in written:
        console.out(path)
    enter = "" if folder == Path() else f"cd {folder} && "
    console.note(f"next: {enter}repx build && repx run")
