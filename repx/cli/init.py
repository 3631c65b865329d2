"""``repx init``: a starter project to change."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

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
    help="The experiment's name.  [default: the folder's]",
)
@click.option(
    "--nix", "in_nix", is_flag=True, help="Write flake.nix and lab.nix instead of lab.yaml."
)
@click.option(
    "--library",
    metavar="URL",
    help="With --nix: the flake that has repx's library.  [default: this installation's]",
)
def init(
    context: Context, folder: Path, name: str | None, in_nix: bool, library: str | None
) -> None:
    """Write a small commented experiment to DIR, by default here.

    It builds and runs as it is. Nothing that exists is overwritten.
    """
    if library is not None and not in_nix:
        raise InputError("--library is for experiments in Nix", hint="add --nix")
    places = _places(folder, in_nix=in_nix)
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
            _fill(place, name, library)
    except OSError as error:
        from repx.config import xdg  # only for a mistake

        xdg.current_folder()
        raise RepxError(f"cannot write to {folder}: {error.strerror}") from error
    written = sorted(str(place) for place in places.values())
    if context.json:
        console.json({"files": written})
        return
    for path in written:
        console.out(path)
    enter = "" if folder == Path() else f"cd {folder} && "
    console.note(f"next: {enter}{'nix' if in_nix else 'repx'} build && repx run")


def _places(folder: Path, *, in_nix: bool) -> dict[Path, Path]:
    """Return the shipped files, and where they go."""
    shipped = sorted(assets.path("templates/init").iterdir())
    if in_nix:
        shipped = [each for each in shipped if each.name != "lab.yaml"]
        shipped += sorted(assets.path("templates/init-nix").iterdir())
    return {
        each: folder / each.name.replace("gitignore", ".gitignore")
        for each in shipped
        if each.is_file()
    }


def _fill(place: Path, name: str | None, library: str | None) -> None:
    """Write the experiment's name and the library's place into a copied file."""
    changes = {}
    if place.name == "lab.yaml" and name is not None:
        changes["name: dice"] = f"name: {name}"
    if place.name == "flake.nix":
        given = _url(library) if library else _own_library()
        changes['repx.url = "path:/path/to/repx";'] = given
        if name is not None:
            changes['description = "'] = f'description = "{name}: '
    for written, wanted in changes.items():
        text = place.read_text(encoding="utf-8")
        place.write_text(text.replace(written, wanted, 1), encoding="utf-8")


def _own_library() -> str:
    """Return the flake beside this repx: of a checkout only what git knows is copied."""
    root = assets.path("flake.nix").resolve().parent
    if quote(str(root)) != str(root):  # old versions of Nix read no URL with blanks
        return f'repx.type = "path";\n    repx.path = {_nix_text(str(root))};'
    return _url(f"{'git+file' if (root / '.git').exists() else 'path'}:{root}")


def _url(library: str) -> str:
    return f"repx.url = {_nix_text(library)};"


def _nix_text(text: str) -> str:
    """Return a text as Nix writes it."""
    return '"{}"'.format(text.replace("\\", "\\\\").replace('"', '\\"').replace("${", "\\${"))
