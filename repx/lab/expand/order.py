"""A topological order of names: each comes after its needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from repx.lab.expand.text import BlueprintError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def ordered(needs: Mapping[str, Iterable[str]], what: str) -> list[str]:
    """Return the names so that each comes after its needs, otherwise in their own order.

    Raises BlueprintError naming an unknown need, or the cycle.
    """
    done: dict[str, None] = {}
    for root in needs:
        path = [(root, iter(needs[root]))]
        while path:
            name, rest = path[-1]
            following = next((need for need in rest if need not in done), None)
            if following is None:
                path.pop()
                done[name] = None
                continue
            trail = [each for each, _ in path]
            if following in trail:
                circle = [*trail[trail.index(following) :], following]
                raise BlueprintError(f"{what} depend on each other: {' -> '.join(circle)}")
            if following not in needs:
                raise BlueprintError(f"{name!r} needs {following!r}, which is not among the {what}")
            path.append((following, iter(needs[following])))
    return [name for name in done if name in needs]
