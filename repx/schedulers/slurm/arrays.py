"""A graph of jobs as few Slurm job arrays whose dependencies say exactly what the graph says.

Slurm knows three conditions that serve here (sbatch(1), ``--dependency``): ``afterok`` and
``afterany`` of a whole array or of one element, and ``aftercorr``: element i waits for element i
of another array. Jobs form one array when they have the same key and wait for the same things,
or for things that differ only in the index. So the art is in choosing the indices: jobs that are
tied one to one through their dependencies (a *chain*) get one index in every array they are in.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, TypeAlias

NodeId: TypeAlias = str

# More references than this in one --dependency make the controller slow and the command line
# long; a job that does nothing then stands for every so many of them.
MAX_REFERENCES: Final = 500


class Condition(StrEnum):
    """When a dependency is met, in Slurm's words."""

    OK = "afterok"
    ANY = "afterany"
    CORRESPONDING = "aftercorr"


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One job for Slurm. Nodes of equal ``key`` may share an array.

    ``needs`` must succeed first, ``ends`` must only end. ``groups`` are indices of sets of
    nodes to wait for; a set is written once, so that N jobs behind M cost N + M.
    """

    id: NodeId
    key: Hashable
    needs: tuple[NodeId, ...] = ()
    ends: tuple[NodeId, ...] = ()
    groups: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A set of nodes that others wait for: all must succeed, or (``ok`` false) only end."""

    nodes: tuple[NodeId, ...]
    ok: bool


@dataclass(frozen=True, slots=True, order=True)
class Reference:
    """An array of ours (its number), or a Slurm id that exists already (text).

    ``index`` names one element; None means the whole.
    """

    array: int | str
    index: int | None = None


@dataclass(frozen=True, slots=True)
class Dependency:
    """One condition on one array or element."""

    condition: Condition
    on: Reference


@dataclass(frozen=True, slots=True, kw_only=True)
class Array:
    """One ``sbatch`` call. ``elements`` maps indices to nodes, ascending; one alone is no array.

    ``key`` is that of its nodes; None marks a job that only stands for many others.
    """

    key: Hashable
    elements: Mapping[int, NodeId]
    dependencies: tuple[Dependency, ...]


def compile(  # noqa: A001  # `arrays.compile` says what it does
    nodes: Sequence[Node],
    groups: Sequence[Group] = (),
    *,
    max_size: int,
    placed: Mapping[NodeId, Reference] | None = None,
) -> list[Array]:
    """Return arrays of at most ``max_size`` elements, indices from 0, in topological order.

    ``nodes`` must be in topological order, groups included. ``placed`` says where nodes are
    that Slurm has already. Takes time proportional to nodes plus edges.
    """
    compiler = _Compiler(nodes, groups, max_size, placed or {})
    for level in _levels(nodes, groups):
        by_key: dict[Hashable, list[Node]] = defaultdict(list)
        for node in level:
            by_key[node.key].append(node)
        for bucket in by_key.values():
            compiler.place(bucket)
    return compiler.arrays


def _levels(nodes: Sequence[Node], groups: Sequence[Group]) -> list[list[Node]]:
    """Return the nodes by the length of the longest way to them."""
    depth: dict[NodeId, int] = {}
    group_depth: dict[int, int] = {}
    levels: list[list[Node]] = []
    for node in nodes:
        own = 0
        for before in (*node.needs, *node.ends):
            own = max(own, depth.get(before, -1) + 1)
        for number in node.groups:
            if number not in group_depth:
                members = groups[number].nodes
                group_depth[number] = max((depth.get(m, -1) for m in members), default=-1) + 1
            own = max(own, group_depth[number])
        depth[node.id] = own
        if own == len(levels):
            levels.append([])
        levels[own].append(node)
    return levels


@dataclass(slots=True)
class _Chains:
    """Which nodes are tied one to one (union-find), and the index each such chain has.

    Mutable: a chain gets its block and index when the first of its nodes is placed. Two chains
    of one block never have the same index.
    """

    parent: dict[NodeId, NodeId] = field(default_factory=dict)
    place: dict[NodeId, tuple[Hashable, int]] = field(default_factory=dict)

    def root(self, node: NodeId) -> NodeId:
        parent = self.parent
        top = node
        while (above := parent.get(top, top)) != top:
            top = above
        while (above := parent.get(node, node)) != top:
            parent[node] = top
            node = above
        return top

    def tie(self, one: NodeId, other: NodeId) -> None:
        self.parent[self.root(one)] = self.root(other)


_Relation: TypeAlias = tuple[Hashable, Hashable]


def _chains(
    nodes: Sequence[Node], placed: Mapping[NodeId, Reference]
) -> tuple[_Chains, set[tuple[NodeId, NodeId]]]:
    """Return the chains, and the edges of which they are made.

    An edge ties when a consumer has one producer of that kind and waiting element by element
    gives fewer arrays than one array per producer would.
    """
    elements = {name: on for name, on in placed.items() if on.index is not None}
    kind: dict[NodeId, Hashable] = {node.id: ("ours", node.key) for node in nodes}
    kind |= {name: ("placed", on.array) for name, on in elements.items()}
    candidates = list(_single_edges(nodes, kind))
    fan_out: dict[_Relation, Counter[NodeId]] = defaultdict(Counter)
    for relation, need, _ in candidates:
        fan_out[relation][need] += 1
    element_wise = {
        relation
        for relation, counts in fan_out.items()
        if len(counts) > 1 and max(counts.values()) <= len(counts)
    }
    edges = {(need, name) for relation, need, name in candidates if relation in element_wise}
    chains = _Chains()
    for need, name in edges:
        chains.tie(name, need)
    for name, on in elements.items():
        chains.place.setdefault(chains.root(name), (on.array, on.index or 0))
    return chains, edges


def _single_edges(
    nodes: Sequence[Node], kind: Mapping[NodeId, Hashable]
) -> Iterator[tuple[_Relation, NodeId, NodeId]]:
    """Yield each edge whose consumer needs nothing else of the producer's kind."""
    for node in nodes:
        known = [need for need in node.needs if need in kind]
        kinds = Counter(kind[need] for need in known) if len(known) > 1 else None
        for need in known:
            if kinds is None or kinds[kind[need]] == 1:
                yield (kind[need], node.key), need, node.id


class _Compiler:
    """Places nodes into arrays, producers first. Mutable while it does."""

    def __init__(
        self,
        nodes: Sequence[Node],
        groups: Sequence[Group],
        max_size: int,
        placed: Mapping[NodeId, Reference],
    ) -> None:
        self.arrays: list[Array] = []
        self._groups = groups
        self._max_size = max_size
        self._where = dict(placed)
        self._chains, self._edges = _chains(nodes, placed)
        self._of_group: dict[int, tuple[Dependency, ...]] = {}
        self._joins: dict[tuple[Dependency, ...], Dependency] = {}
        self._blocks = 0

    def place(self, bucket: Sequence[Node]) -> None:
        """Put nodes of one key and level into new arrays."""
        signatures = {node.id: self._signature(node) for node in bucket}
        self._number(bucket, signatures)
        arrays: dict[Hashable, dict[int, NodeId]] = defaultdict(dict)
        lanes: Counter[Hashable] = Counter()
        for node in bucket:
            block, index = self._chains.place[self._chains.root(node.id)]
            group = (signatures[node.id], block)
            lane = lanes[group, index]
            lanes[group, index] += 1
            arrays[group, lane][index] = node.id
        for elements in arrays.values():
            name = next(iter(elements.values()))
            self._add(bucket[0].key, elements, signatures[name])

    def _number(
        self, bucket: Sequence[Node], signatures: Mapping[NodeId, frozenset[Dependency | int]]
    ) -> None:
        """Give every chain that has none yet an index, in blocks of nodes that wait alike."""
        current: dict[frozenset[Dependency | int], tuple[int, int]] = {}
        for node in bucket:
            root = self._chains.root(node.id)
            if root in self._chains.place:
                continue
            signature = signatures[node.id]
            block, index = current.get(signature, (0, self._max_size))
            if index == self._max_size:
                self._blocks += 1
                block, index = self._blocks, 0
            self._chains.place[root] = (block, index)
            current[signature] = (block, index + 1)

    def _signature(self, node: Node) -> frozenset[Dependency | int]:
        """Return what a node waits for; nodes that agree in it may share an array."""
        _, own = self._chains.place.get(self._chains.root(node.id), (None, None))
        found: set[Dependency | int] = set(node.groups)
        rest: list[Reference] = []
        for need in node.needs:
            where = self._where[need]
            tied = own is not None and (need, node.id) in self._edges
            if tied and where.index == own:
                found.add(Dependency(Condition.CORRESPONDING, Reference(where.array)))
            else:
                rest.append(where)
        found.update(self._whole(Condition.OK, rest))
        needed = set(node.needs)
        ends = [self._where[name] for name in node.ends if name not in needed]
        found.update(self._whole(Condition.ANY, ends))
        return frozenset(found)

    def _whole(self, condition: Condition, on: Iterable[Reference]) -> set[Dependency]:
        """Return a condition on each reference, elements that make up an array put together."""
        by_array: dict[int | str, set[int | None]] = defaultdict(set)
        for reference in on:
            by_array[reference.array].add(reference.index)
        found: set[Dependency] = set()
        for array, indices in by_array.items():
            if isinstance(array, int) and len(indices) == len(self.arrays[array].elements):
                indices = {None}  # noqa: PLW2901  # all of them are the whole
            found.update(Dependency(condition, Reference(array, index)) for index in indices)
        return found

    def _add(
        self,
        key: Hashable,
        elements: Mapping[int, NodeId],
        signature: frozenset[Dependency | int],
    ) -> None:
        dependencies: set[Dependency] = set()
        for part in signature:
            if isinstance(part, Dependency):
                dependencies.add(part)
            else:
                dependencies.update(self._group(part))
        if len(elements) == 1:
            (index,) = elements
            dependencies = {self._of_element(dependency, index) for dependency in dependencies}
        shortened = self._shorten(dependencies)
        number = len(self.arrays)
        ordered = {index: elements[index] for index in sorted(elements)}
        self.arrays.append(Array(key=key, elements=ordered, dependencies=shortened))
        for index, name in ordered.items():
            self._where[name] = Reference(number, index)

    def _group(self, number: int) -> tuple[Dependency, ...]:
        if number not in self._of_group:
            group = self._groups[number]
            condition = Condition.OK if group.ok else Condition.ANY
            found = self._whole(condition, (self._where[name] for name in group.nodes))
            self._of_group[number] = tuple(sorted(found, key=_in_order))
        return self._of_group[number]

    def _shorten(self, dependencies: Iterable[Dependency]) -> tuple[Dependency, ...]:
        """Return the dependencies with joins in place of those that are too many."""
        ordered = sorted(dependencies, key=_in_order)
        kept = [d for d in ordered if d.condition is Condition.CORRESPONDING]
        for condition in (Condition.OK, Condition.ANY):
            alike = [d for d in ordered if d.condition is condition]
            while len(alike) > MAX_REFERENCES:
                alike = [
                    self._join(tuple(alike[at : at + MAX_REFERENCES]))
                    for at in range(0, len(alike), MAX_REFERENCES)
                ]
            kept.extend(alike)
        return tuple(kept)

    def _of_element(self, dependency: Dependency, index: int) -> Dependency:
        """Return what ``aftercorr`` means for the element of that index alone."""
        if dependency.condition is not Condition.CORRESPONDING:
            return dependency
        (found,) = self._whole(Condition.OK, [Reference(dependency.on.array, index)])
        return found

    def _join(self, dependencies: tuple[Dependency, ...]) -> Dependency:
        """Return the one dependency that stands for many of the same condition."""
        if len(dependencies) == 1:
            return dependencies[0]
        if dependencies not in self._joins:
            number = len(self.arrays)
            name = f"join {number}"
            self.arrays.append(Array(key=None, elements={0: name}, dependencies=dependencies))
            on = Reference(number)
            self._joins[dependencies] = Dependency(dependencies[0].condition, on)
        return self._joins[dependencies]


def _in_order(dependency: Dependency) -> tuple[str, bool, int | str, int]:
    on = dependency.on
    index = -1 if on.index is None else on.index
    return (dependency.condition, isinstance(on.array, str), on.array, index)
