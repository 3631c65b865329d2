"""`repx viz`: the Lab as a picture, or as text for who draws it."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

import click

from repx import console, whole
from repx.cli.context import command
from repx.errors import InputError, StorageError, did_you_mean
from repx.places import command as processes
from repx.viz import dot, drawing, layers, mermaid
from repx.viz.drawing import FrameKind, Link

if TYPE_CHECKING:
    from collections.abc import Mapping

    from repx.cli.context import Context
    from repx.viz.drawing import Drawing


class Format(StrEnum):
    """The format of the file."""

    SVG = "svg"
    PNG = "png"
    PDF = "pdf"
    DOT = "dot"
    MERMAID = "mermaid"


_SUFFIXES: Final[Mapping[str, Format]] = {
    ".svg": Format.SVG,
    ".png": Format.PNG,
    ".pdf": Format.PDF,
    ".dot": Format.DOT,
    ".gv": Format.DOT,
    ".mmd": Format.MERMAID,
    ".mermaid": Format.MERMAID,
}
_DRAWN: Final = (Format.SVG, Format.PNG, Format.PDF)
_STDOUT: Final = Path("-")
_TIMEOUT_S: Final = 300


@command(
    examples="""
        repx viz                          # writes topology.svg
        repx viz -o lab.png --status      # coloured by what is done
        repx viz --format mermaid -o -    # text, e.g. for a README
        repx viz --show-params -o lab.pdf
        """
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, allow_dash=True),
    metavar="FILE",
    help="The file to write; `-` is stdout.  [default: topology.FORMAT]",
)
@click.option(
    "-f",
    "--format",
    "wanted",
    type=click.Choice([each.value for each in Format]),
    help="The format.  [default: by FILE's suffix; dot for `-`, else svg]",
)
@click.option("--pipelines", is_flag=True, help="Draw stages, without frames unless asked for.")
@click.option("--runs", is_flag=True, help="Draw frames around runs; --groups does so too.")
@click.option("--groups", is_flag=True, help="Draw frames around groups.")
@click.option("--no-intra-edges", is_flag=True, help="Draw no arrows within a run.")
@click.option("--no-inter-edges", is_flag=True, help="Draw no arrows between runs.")
@click.option("--show-params", is_flag=True, help="Show the parameters that have several values.")
@click.option("--status", is_flag=True, help="Colour each stage by the state of its jobs.")
def viz(
    context: Context,
    output: Path | None,
    wanted: str | None,
    show_params: bool,
    status: bool,
    **shown: bool,
) -> None:
    """Draw the stages, runs and dependencies of a Lab.

    A box is a stage with the number of its jobs, a frame is a run or a group. Arrows between
    runs are solid where success is needed (hard), dashed where an end is enough (soft).
    Without --pipelines, --runs and --groups, all of them are drawn.
    Pictures take Graphviz (`dot`); without it the same is written for Mermaid.
    """
    lab = context.lab_to_look_at().lab
    states = {job: said.state for job, said in context.states(lab).items()} if status else None
    picture = layered(drawing.draw(lab, show_params=show_params, states=states), **shown)
    form = _format(output, wanted)
    place = output or Path(f"topology.{form}")
    if place != _STDOUT and place.is_dir():
        raise InputError(f"{place} is a folder", hint=f"name a file, e.g. -o {place}/lab.{form}")
    if form in _DRAWN and processes.which("dot") is None:
        form, place = Format.MERMAID, _without_graphviz(place)
    content = _content(picture, form)
    if place == _STDOUT:
        console.raw(content)
    else:
        _write(content, place)
        if context.json:
            console.json({"file": str(place), "format": form})
        else:
            console.out(str(place))


def layered(
    picture: Drawing,
    *,
    pipelines: bool,
    runs: bool,
    groups: bool,
    no_intra_edges: bool,
    no_inter_edges: bool,
) -> Drawing:
    """Leave out what the options leave out."""
    chosen = pipelines or runs or groups
    kinds = {
        FrameKind.RUN: chosen and not runs and not groups,
        FrameKind.GROUP: chosen and not groups,
    }
    links = {
        Link.DATA: no_intra_edges,
        Link.HARD: no_inter_edges,
        Link.SOFT: no_inter_edges,
    }
    return layers.without(
        picture,
        kinds={kind for kind, dropped in kinds.items() if dropped},
        links={link for link, dropped in links.items() if dropped},
    )


def _format(output: Path | None, wanted: str | None) -> Format:
    if wanted is not None:
        return Format(wanted)
    if output is None or output == _STDOUT:
        return Format.SVG if output is None else Format.DOT
    found = _SUFFIXES.get(output.suffix.lower())
    if found is None:
        near = did_you_mean(output.suffix, _SUFFIXES)
        raise InputError(
            f"cannot tell the format of {output} from its suffix",
            hint=near or f"end the name in one of {', '.join(_SUFFIXES)}, or use --format",
        )
    return found


def _without_graphviz(place: Path) -> Path:
    instead = place if place == _STDOUT else place.with_suffix(".mmd")
    console.warn("Graphviz (`dot`) is not installed, so this is Mermaid instead of a picture")
    console.note("hint: paste it into https://mermaid.live, or install graphviz")
    return instead


def _content(picture: Drawing, form: Format) -> bytes:
    if form is Format.MERMAID:
        return mermaid.write(picture).encode()
    text = dot.write(picture)
    return text.encode() if form is Format.DOT else _rendered(text, form)


def _rendered(text: str, form: Format) -> bytes:
    """Let Graphviz draw; it writes to a file, since what a process prints is taken for text."""
    with TemporaryDirectory(prefix="repx-viz-") as folder:
        made = Path(folder, "picture")
        processes.run(["dot", f"-T{form}", "-o", str(made)], stdin=text, timeout_s=_TIMEOUT_S)
        return made.read_bytes()


def _write(content: bytes, place: Path) -> None:
    try:
        whole.write(place, content)
    except OSError as error:
        raise StorageError(
            f"cannot write {place}: {error.strerror}", hint="name another file with -o"
        ) from error
