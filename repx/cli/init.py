"""``repx init``: a starter project to change."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from repx import assets, console
from repx.cli.context import command
from repx.errors import InputError, RepxError

if TYPE_CHECKING:
    from repx.cli.context import Context

_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]*")  # as in schemas/lab.schema.json


@command(
    examples="""
    repx init my-experiment
    cd my-experiment && repx build && repx run
    """
)
@click.argument("folder", type=click.Path(path_type=Path), default=".", metavar="[DIR]")
@click.option(
    "--name",
    metavar="NAME",
    help="The experiment's name in lab.yaml.  [default: the folder's]",
)
def init(context: Context, folder: Path, name: str | None) -> None:
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
    if name is not None and not _NAME.fullmatch(name):
        raise InputError(
            f"'{name}' cannot be the experiment's name",
            hint="use letters, digits and . _ + -, and begin with a letter, a digit or _",
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for source, place in places.items():
            shutil.copy(source, place)
            if name is not None and place.name == "lab.yaml":
                text = place.read_text(encoding="utf-8")
                place.write_text(text.replace("name: dice", f"name: {name}", 1), encoding="utf-8")
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
