"""A drawing in Mermaid's language (https://mermaid.js.org/syntax/flowchart.html)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from repx.viz.colours import COLOURS
from repx.viz.drawing import Link

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from repx.status import State
    from repx.viz.drawing import Drawing, Frame, Node

_LINKS: Final[Mapping[Link, str]] = {
    Link.DATA: "-->",
    Link.HARD: "==>",
    Link.SOFT: "-.->",
}

_MARKUP: Final = re.compile(r"[^\w .,:@+()/-]")


def write(drawing: Drawing) -> str:
    """Return the text of a .mmd file."""
    lines = ["flowchart LR"]
    used: set[State] = set()
    lines += [_node(node, "  ", used) for node in drawing.nodes]
    for frame in drawing.frames:
        lines.extend(_frame(frame, "  ", used))
    lines.extend(
        f"  {edge.tail or edge.source} {_LINKS[edge.link]} {edge.target}" for edge in drawing.edges
    )
    for state in sorted(used):
        fill, line = COLOURS[state]
        lines.append(f"  classDef {state} fill:{fill},stroke:{line}")
    return "\n".join([*lines, ""])


def _frame(frame: Frame, indent: str, used: set[State]) -> Iterator[str]:
    """Yield the lines of a frame; add the states of its boxes to ``used``."""
    inner = f"{indent}  "
    yield f'{indent}subgraph {frame.key}["{_text(frame.title)}"]'
    yield from (_node(node, inner, used) for node in frame.nodes)
    for child in frame.frames:
        yield from _frame(child, inner, used)
    yield f"{indent}end"


def _node(node: Node, indent: str, used: set[State]) -> str:
    label = _text("\n".join(node.lines))
    line = f'{indent}{node.key}["{label}"]'
    if node.state is None:
        return line
    used.add(node.state)
    return f"{line}:::{node.state}"


def _text(text: str) -> str:
    """Replace characters that Mermaid or HTML could read as markup by character codes."""
    lines = text.split("\n")
    return "<br/>".join(_MARKUP.sub(lambda match: f"#{ord(match[0])};", line) for line in lines)
