"""Which units may start, and which are skipped, when other units end."""

from __future__ import annotations

from repx.runner import table
from repx.runner.table import ENDED, FOREIGN, NEED_FAILED, NEEDS_MET, SEEN_DONE, SUCCEEDED, WAITING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, Final

WHOLE: Final = -1  # the branch of a unit that runs once per job


class Dag:
    """The units of a plan's tasks, its gates and the jobs of other runners, as nodes.

    A node may start when every node it waits for has ended well; a soft gate accepts any end. The
    units of branches are added when the number of branches is known. The caller empties ``ready``
    and ``skipped``; ``open`` counts the units of each task that have not ended.
    """

    def __init__(self, tasks: list[dict[str, Any]], gates: list[dict[str, Any]]) -> None:
        """Build the graph of a plan's tasks and gates."""
        self.tasks = tasks
        self.state: list[str] = []
        self.left: list[int] = []
        self.behind: list[list[int] | None] = []
        self.place: list[tuple[int, int, int] | None] = []  # task, unit and branch of a node
        self.ready: list[int] = []
        self.skipped: list[tuple[int, int]] = []
        self.foreign: dict[str, int] = {}
        self.open = [0] * len(tasks)
        self.first: list[int] = []  # the node of each task's first unit; the others follow
        self.last: list[int] = []
        self.nodes: list[list[int] | range] = [self._add_task(i) for i in range(len(tasks))]
        self.gates = [self._add() for _ in gates]
        self.soft = {self.gates[i] for i, gate in enumerate(gates) if gate["type"] == "soft"}
        for node, gate in zip(self.gates, gates):
            self._wait(node, [self.last[i] for i in gate["tasks"]], gate["waits"])
        for i, task in enumerate(tasks):
            before = [self.last[need] for need in task["needs"]]
            before += [self.gates[gate] for gate in task["gates"]]
            self._wait(self.first[i], before, task["waits"])
        for node in range(len(self.state)):
            if not self.left[node] and self.state[node] == WAITING:
                for opened in self._met(node):
                    self._spread(opened, opened)

    # --- building

    def _add(self, place: tuple[int, int, int] | None = None) -> int:
        self.state.append(WAITING)
        self.left.append(0)
        self.behind.append(None)
        self.place.append(place)
        if place is not None:
            self.open[place[0]] += 1
        return len(self.state) - 1

    def _add_task(self, task: int) -> range:
        """Add a task's units outside of branches; ``fan_out`` adds the units of branches."""
        units = self.tasks[task]["units"]
        start = len(self.state)
        node_of = {
            i: self._add((task, i, WHOLE)) for i, unit in enumerate(units) if not unit["per_branch"]
        }
        for i, node in node_of.items():
            needs = units[i]["needs"]
            # Until the branches are known, units that need them wait for scatter, the first unit.
            self._wait(node, [node_of.get(need, start) for need in needs], ())
        self.first.append(start)
        self.last.append(len(self.state) - 1)
        return range(start, len(self.state))

    def _wait(self, node: int, nodes: Iterable[int], jobs: Iterable[str]) -> None:
        for before in nodes:
            self._edge(before, node)
        for job in jobs:
            if job not in self.foreign:
                self.foreign[job] = self._add()
                self.state[self.foreign[job]] = FOREIGN
            self._edge(self.foreign[job], node)

    def _edge(self, before: int, node: int) -> None:
        self.left[node] += 1
        behind = self.behind[before]
        if behind is None:
            self.behind[before] = [node]
        else:
            behind.append(node)

    def fan_out(self, task: int, count: int, done: Callable[[str, int], bool]) -> int:
        """Add the units of ``count`` branches, which wait for the first unit to end.

        A unit is kept if ``done`` says that it has succeeded and all units before it in its branch
        are kept. Returns how many units are not kept.
        """
        units = self.tasks[task]["units"]
        each = [i for i, unit in enumerate(units) if unit["per_branch"]]
        added: list[int] = []
        for branch in range(count):
            node_of: dict[int, int] = {}
            for i in each:
                node = node_of[i] = self._add((task, i, branch))
                added.append(node)
                before = [node_of[need] for need in units[i]["needs"] if need in node_of]
                before = [need for need in before if self.state[need] != SUCCEEDED]
                if not before and done(units[i]["unit"], branch):
                    self.move(node, SEEN_DONE)
                else:
                    self._wait(node, [self.first[task], *before], ())
            for node in self.nodes[task]:
                needs = self.tasks[task]["units"][self.placed(node)[1]]["needs"]
                before = [node_of[need] for need in needs if need in node_of]
                self._wait(node, [n for n in before if self.state[n] != SUCCEEDED], ())
        self.nodes[task] = [*self.nodes[task], *added]
        return sum(self.state[node] != SUCCEEDED for node in added)

    # --- events

    def placed(self, node: int) -> tuple[int, int, int]:
        """Return task, unit and branch of a node that is a unit."""
        place = self.place[node]
        assert place is not None  # noqa: S101  # the caller's node is a unit
        return place

    def move(self, node: int, event: str) -> bool:
        """Apply an event to a node; return whether this ended the node. Raises IllegalMoveError."""
        before = self.state[node]
        now = self.state[node] = table.after(before, event)
        if before in ENDED or now not in ENDED:
            return False
        place = self.place[node]
        if place is not None:
            self.open[place[0]] -= 1
        return True

    def end(self, node: int, event: str, culprit: int | None = None) -> None:
        """Apply an event to a node; if this ends the node, update the nodes that wait for it.

        ``culprit`` is the node because of which they are skipped, by default ``node``.
        """
        if self.move(node, event):
            self._spread(node, node if culprit is None else culprit)

    def end_all(self, nodes: Iterable[int], event: str, culprit: int | None = None) -> None:
        """Apply an event to several nodes first, then update the nodes that wait for them."""
        for node in [node for node in nodes if self.move(node, event)]:
            self._spread(node, node if culprit is None else culprit)

    def _spread(self, node: int, culprit: int) -> None:
        ended = [node]
        while ended:
            before = ended.pop()
            well = self.state[before] == SUCCEEDED
            for behind in self.behind[before] or ():
                if well or behind in self.soft:
                    self.left[behind] -= 1
                    if not self.left[behind]:
                        ended += self._met(behind)
                elif self.move(behind, NEED_FAILED):
                    ended.append(behind)
                    if self.place[behind] is not None:
                        self.skipped.append((behind, culprit))

    def _met(self, node: int) -> list[int]:
        """Make a unit ready, or end a gate; return the gate, if it ended."""
        if self.place[node] is None:
            return [node] if self.move(node, SEEN_DONE) else []
        if self.state[node] == WAITING:
            self.ready.append(node)
        self.move(node, NEEDS_MET)
        return []
