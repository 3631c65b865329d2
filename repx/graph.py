"""Properties of a graph of jobs, given as the needs of each: order, closure, cycles, parts."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from repx.errors import GraphError

if TYPE_CHECKING:
    from collections.abc import Collection, Hashable, Iterable, Mapping

    Node = TypeVar("Node", bound=Hashable)

Needs: TypeAlias = "Mapping[Node, Collection[Node]]"


def order(needs: Needs[Node]) -> tuple[Node, ...]:
    """Return all nodes, needs first; otherwise in the order of the mapping.

    Raises GraphError naming a cycle, or a need that is no node.
    """
    missing = {node: len(wanted) for node, wanted in needs.items()}
    users = dependents(needs)
    ready = deque(node for node, count in missing.items() if not count)
    ordered: list[Node] = []
    while ready:
        node = ready.popleft()
        ordered.append(node)
        for user in users[node]:
            missing[user] -= 1
            if not missing[user]:
                ready.append(user)
    if len(ordered) < len(missing):
        cycle = find_cycle(needs) or []
        raise GraphError(f"jobs need each other in a circle: {' -> '.join(map(str, cycle))}")
    return tuple(ordered)


def dependents(needs: Needs[Node]) -> dict[Node, list[Node]]:
    """Return for every node its direct dependents. Raises GraphError for an unknown need."""
    users: dict[Node, list[Node]] = {node: [] for node in needs}
    for node, wanted in needs.items():
        for need in wanted:
            if need not in users:
                raise GraphError(f"{node} needs {need}, which does not exist")
            users[need].append(node)
    return users


def closure(needs: Needs[Node], start: Iterable[Node]) -> set[Node]:
    """Return the start and everything it needs, directly or not.

    With ``dependents(needs)`` in place of ``needs``, return everything that needs the start.
    """
    found = set(start)
    todo = list(found)
    while todo:
        new = [need for need in needs[todo.pop()] if need not in found]
        found.update(new)
        todo.extend(new)
    return found


def finals(needs: Needs[Node], members: Iterable[Node]) -> tuple[Node, ...]:
    """Return the members that no other member needs, in their order."""
    nodes = tuple(members)
    used = {need for node in nodes for need in needs[node]}
    return tuple(node for node in nodes if node not in used)


def find_cycle(needs: Needs[Node]) -> list[Node] | None:
    """Return a cycle as ``[a, b, a]``, each needing the next, or None if there is none."""
    finished: set[Node] = set()
    for start in needs:
        trail: dict[Node, None] = {}
        stack = [(start, iter(needs[start]))] if start not in finished else []
        trail[start] = None
        while stack:
            node, wanted = stack[-1]
            for need in wanted:
                if need in trail:
                    nodes = list(trail)
                    return [*nodes[nodes.index(need) :], need]
                if need not in finished and need in needs:
                    trail[need] = None
                    stack.append((need, iter(needs[need])))
                    break
            else:
                finished.add(node)
                del trail[node]
                stack.pop()
    return None


def components(needs: Needs[Node]) -> list[list[Node]]:
    """Return the connected parts, directions ignored, each in the mapping's order."""
    users = dependents(needs)
    part_of: dict[Node, int] = {}
    parts: list[list[Node]] = []
    for start in needs:
        if start in part_of:
            parts[part_of[start]].append(start)
            continue
        part_of[start] = len(parts)
        todo = [start]
        while todo:
            node = todo.pop()
            new = [near for near in (*needs[node], *users[node]) if near not in part_of]
            part_of.update(dict.fromkeys(new, len(parts)))
            todo.extend(new)
        parts.append([start])
    return parts


def downstream(needs: Needs[str], of: Iterable[str]) -> dict[str, str]:
    """Return all nodes downstream of the nodes ``of``, each with one of these; nearest first."""
    users = dependents(needs)
    culprit: dict[str, str] = {}
    todo = deque((node, node) for node in of)
    while todo:
        node, source = todo.popleft()
        for user in users[node]:
            if user not in culprit:
                culprit[user] = source
                todo.append((user, source))
    return culprit
