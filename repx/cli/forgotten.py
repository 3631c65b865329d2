"""A Lab that is older than its definition: `run` builds it again, other commands say so."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Final

import click

from repx import console
from repx.cli.context import DEFAULT_LAB

if TYPE_CHECKING:
    from pathlib import Path

    from repx.lab.age import Age

_DEFINITION: Final = "lab.yaml"
_WAY_OUT: Final = "`--no-build` runs the Lab as it is"

no_build_option = click.option(
    "--no-build", is_flag=True, help="Do not build first, even if the definition has changed."
)


def tell(link: Path) -> None:
    """Say in one line that a Lab is older than its definition, if it is."""
    from repx.lab import age, record

    link = record.own(link)
    found = age.of(link)
    if found is not None:
        console.note(_line(found, link))


def build(link: Path) -> None:
    """Build the Lab again if it is older than its definition. Raises what a build raises."""
    from repx.errors import ProblemsError, RepxError
    from repx.lab import age, record

    link = record.own(link)
    found = age.of(link)
    if found is None:
        return
    if found.source is None or not found.changes:
        console.note(_line(found, link))
        return
    from repx.cli import build as command

    console.note(f"{found.changed}: building {found.source} first")
    try:
        built = command.make(found.source, link.absolute())
    except ProblemsError as error:
        raise ProblemsError(error.problems, hint=_WAY_OUT) from error
    except RepxError as error:
        error.hint = error.hint or _WAY_OUT
        raise
    command.tell(built, link)


def _line(found: Age, link: Path) -> str:
    if found.source is None:
        return f"{link} was built by Nix, and since then {found.changed}: run `nix build` again"
    if not found.changes:
        return (
            f"{link} was built from {found.source}, which is gone: a new definition is not noticed"
        )
    older = f"{link} is older than its definition: {found.changed}"
    command = shlex.join(["repx", "build", *_where(found.source, link)])
    if found.broken:
        return f"{older}; {found.source} has mistakes now, `{command}` shows them"
    return f"{older}; `{command}` builds it again"


def _where(source: Path, link: Path) -> list[str]:
    """Return what `repx build` has to be told to build a Lab again."""
    at = [] if str(source) == _DEFINITION else [str(source)]
    return at if link == DEFAULT_LAB else [*at, "-o", str(link)]
