"""Choose the next unit to start, within the limits of the machine."""

from __future__ import annotations

import heapq

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Final, TypeAlias

    from repx.runner.units import Unit

    Shape: TypeAlias = tuple[int, int, int]

PATIENCE: Final = 20  # how often smaller units may start before a larger one that is ahead of them


class Admission:
    """Lets units start in order, as far as slots, cores, memory and GPUs allow.

    Units of one shape share a queue, so that many units that do not fit cost no more than one. A
    larger unit is passed at most ``PATIENCE`` times. A unit larger than the machine runs alone.
    No two units have a GPU at once.
    """

    def __init__(self, jobs: int, cpus: int, mem: int, gpus: Sequence[str] = ()) -> None:
        """Allow up to this many units, cores and bytes, and these GPUs; no GPUs: not counted."""
        self.jobs, self.cpus, self.mem, self.gpus = jobs, cpus, mem, tuple(gpus)
        self.running = self.used_cpus = self.used_mem = 0
        self.free_gpus = set(self.gpus)
        self.queues: dict[Shape, list[tuple[tuple[int, int, int], Unit]]] = {}
        self.passed: dict[Shape, int] = {}

    def push(self, unit: Unit) -> None:
        """Queue a unit."""
        # Memory is rounded to four bits, so that there are always few shapes.
        mem = unit.mem
        rounded = (mem.bit_length() << 4) + (mem >> max(0, mem.bit_length() - 4))
        heapq.heappush(
            self.queues.setdefault((unit.cpus, rounded, unit.gpus), []), (unit.order, unit)
        )

    def pop(self, wanted: Callable[[Unit], bool]) -> Unit | None:
        """Return the unit to start now, if there is one; drop units that are no longer wanted."""
        if self.running >= self.jobs:
            return None
        too_big: list[Shape] = []
        for shape in self._shapes(wanted):
            if self._fits(self.queues[shape][0][1]):
                for bigger in too_big:
                    self.passed[bigger] = self.passed.get(bigger, 0) + 1
                self.passed.pop(shape, None)
                return self._take(shape)
            if self.passed.get(shape, 0) >= PATIENCE:
                return None
            too_big.append(shape)
        return None

    def _shapes(self, wanted: Callable[[Unit], bool]) -> list[Shape]:
        """Return the shapes in the order of their first units; drop unwanted units."""
        for shape in list(self.queues):
            queue = self.queues[shape]
            while queue and not wanted(queue[0][1]):
                heapq.heappop(queue)
            if not queue:
                del self.queues[shape]
        return sorted(self.queues, key=lambda shape: self.queues[shape][0][0])

    def _fits(self, unit: Unit) -> bool:
        return not self.running or (
            self.used_cpus + unit.cpus <= self.cpus
            and self.used_mem + unit.mem <= self.mem
            and (not self.gpus or unit.gpus <= len(self.free_gpus))
        )

    def _take(self, shape: Shape) -> Unit:
        unit = heapq.heappop(self.queues[shape])[1]
        self.running += 1
        self.used_cpus += unit.cpus
        self.used_mem += unit.mem
        free = [gpu for gpu in self.gpus if gpu in self.free_gpus]
        unit.given_gpus = tuple(free[: unit.gpus])
        self.free_gpus.difference_update(unit.given_gpus)
        return unit

    def give_back(self, unit: Unit) -> None:
        """Free a unit's slot, cores, memory and GPUs."""
        self.running -= 1
        self.used_cpus -= unit.cpus
        self.used_mem -= unit.mem
        self.free_gpus.update(unit.given_gpus)

    def too_large(self, unit: Unit) -> bool:
        """Tell whether the unit asks for more than the machine has."""
        few_gpus = bool(self.gpus) and unit.gpus > len(self.gpus)
        return unit.cpus > self.cpus or unit.mem > self.mem or few_gpus
