"""A drawing in Graphviz's language (https://graphviz.org/doc/info/lang.html)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from repx.viz.colours import COLOURS
from repx.viz.drawing import FrameKind, Link

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from repx.status import State
    from repx.viz.drawing import Drawing, Frame, Node

_HEAD: Final = """\
digraph lab {
  graph [rankdir=LR, compound=true, fontname="Helvetica", fontsize=12, nodesep=0.3, ranksep=0.6,
         pad=0.2, labeljust=l, fontcolor="#3c4043"];
  node [shape=box, style="rounded,filled", fillcolor="#eef3fa", color="#5b7aa6",
        fontname="Helvetica", fontsize=12, margin="0.16,0.08"];
  edge [color="#5f6368", arrowsize=0.7, fontname="Helvetica", fontsize=10];"""

_BETWEEN_RUNS: Final = {"color": "#b3541e", "fontcolor": "#b3541e", "penwidth": "1.6"}
_LINKS: Final[Mapping[Link, Mapping[str, str]]] = {
    Link.DATA: {},
    Link.HARD: {"label": "hard", **_BETWEEN_RUNS},
    Link.SOFT: {"label": "soft", **_BETWEEN_RUNS, "style": "dashed"},
}

_FRAMES: Final[Mapping[FrameKind, Mapping[str, str]]] = {
    FrameKind.GROUP: {"style": "rounded,dotted", "color": "#3c4043"},
    FrameKind.RUN: {"style": "rounded,filled", "fillcolor": "#fafbfc", "color": "#c4c9cf"},
    FrameKind.STAGE: {"style": "rounded,filled", "fillcolor": "#f1f3f4", "color": "#5b7aa6"},
}


def write(drawing: Drawing) -> str:
    """Return the text of a .dot file."""
    lines = [_HEAD, *(_node(node, "  ") for node in drawing.nodes)]
    for frame in drawing.frames:
        lines.extend(_frame(frame, "  "))
    for edge in drawing.edges:
        attributes = dict(_LINKS[edge.link])
        if edge.tail:
            attributes["ltail"] = f"cluster_{edge.tail}"
        lines.append(f"  {edge.source} -> {edge.target}{_attributes(attributes)};")
    return "\n".join([*lines, "}", ""])


def _frame(frame: Frame, indent: str) -> Iterator[str]:
    inner = f"{indent}  "
    yield f"{indent}subgraph cluster_{frame.key} {{"
    attributes = {"label": frame.title, **_FRAMES[frame.kind], **_colours(frame.state)}
    yield from (f"{inner}{name}={_text(value)};" for name, value in attributes.items())
    yield from (_node(node, inner) for node in frame.nodes)
    for child in frame.frames:
        yield from _frame(child, inner)
    yield f"{indent}}}"


def _node(node: Node, indent: str) -> str:
    box = {"label": "\n".join(node.lines), **_colours(node.state)}
    return f"{indent}{node.key}{_attributes(box)};"


def _colours(state: State | None) -> dict[str, str]:
    return {} if state is None else dict(zip(("fillcolor", "color"), COLOURS[state], strict=True))


def _attributes(attributes: Mapping[str, str]) -> str:
    pairs = ", ".join(f"{name}={_text(value)}" for name, value in attributes.items())
    return f" [{pairs}]" if pairs else ""


def _text(text: str) -> str:
    r"""Quote a string. Graphviz also expands ``\N`` and others, hence the second backslash."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
