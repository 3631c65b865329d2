"""Part of a drawing: without some of its frames or arrows."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from repx.viz.drawing import Drawing, FrameKind, Link

if TYPE_CHECKING:
    from collections.abc import Collection

    from repx.viz.drawing import Frame, Node


def without(drawing: Drawing, *, kinds: Collection[FrameKind], links: Collection[Link]) -> Drawing:
    """Return the drawing without frames and arrows of these kinds; framed boxes stay."""
    nodes, frames = _unframed(drawing.nodes, drawing.frames, kinds)
    gone = FrameKind.RUN in kinds  # an arrow can start at a run's frame
    edges = (edge for edge in drawing.edges if edge.link not in links)
    return Drawing(
        nodes=nodes,
        frames=frames,
        edges=tuple(replace(edge, tail=None) if gone else edge for edge in edges),
    )


def _unframed(
    nodes: tuple[Node, ...], frames: tuple[Frame, ...], kinds: Collection[FrameKind]
) -> tuple[tuple[Node, ...], tuple[Frame, ...]]:
    kept: list[Frame] = []
    for frame in frames:
        inner_nodes, inner_frames = _unframed(frame.nodes, frame.frames, kinds)
        if frame.kind in kinds:
            nodes += inner_nodes
            kept += inner_frames
        else:
            kept.append(replace(frame, nodes=inner_nodes, frames=inner_frames))
    return nodes, tuple(kept)
