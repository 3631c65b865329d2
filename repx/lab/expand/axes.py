"""The axes of a run: parameters, and groups of parameters that vary together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from repx.lab.expand.text import BlueprintError, compact

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from repx.lab.expand.stages import Stage


@dataclass(frozen=True)
class Axis:
    """One dimension of a run: a parameter, or a group of parameters that vary together."""

    members: Sequence[str]
    rows: Sequence[Mapping[str, Any]]


def axes_of(run: Mapping[str, Any]) -> list[Axis]:
    """Return the run's axes: parameters by name, then zip groups. Raises when one is empty."""
    single = sorted((run.get("parameter_axes") or {}).items())
    axes = [Axis([name], [{name: value} for value in values]) for name, values in single]
    axes += [Axis(group["members"], group["values"]) for group in run.get("zip_groups") or []]
    taken: set[str] = set()
    for axis in axes:
        names = ", ".join(map(repr, axis.members))
        if not axis.rows:
            raise BlueprintError(f"run {run['name']!r}: the sweep over {names} is empty")
        if not taken.isdisjoint(axis.members):
            raise BlueprintError(f"run {run['name']!r}: {names} is in two axes")
        taken.update(axis.members)
    return axes


class Parameter:
    """One parameter of a stage: its values along one axis, or its default."""

    def __init__(self, stage: Stage, name: str, axes: Sequence[Axis]) -> None:
        """Find the axis that gives the values, if there is one."""
        self.name = name
        self.axis: int | None = None
        self.values = [stage.parameters[name]]
        # `stage.parameter` means this stage only and wins over the plain name.
        for wanted in (f"{stage.key}.{name}", name):
            found = [index for index, axis in enumerate(axes) if wanted in axis.members]
            if found:
                self.axis = found[0]
                given = [row.get(wanted) for row in axes[self.axis].rows]
                self.values = [self.values[0] if value is None else value for value in given]
                break
        self.json = [f"{compact(name)}:{compact(value)}" for value in self.values]
