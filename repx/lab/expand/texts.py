"""The templates of a stage, filled with the parameters of one combination."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from repx.lab.expand.text import LONGEST_NAME, NAME, BlueprintError, fill, holes, shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from repx.lab.expand.stages import Stage

_TIME = re.compile(r"(?i)(?:([0-9]+)d)?(?:([0-9]+)h)?(?:([0-9]+)m)?(?:([0-9]+)s)?")
_NOT_IN_FILE_NAMES = re.compile(r"[\x00-\x1f\x7f/]|\$out")


class Texts:
    """One combination's parameters as templates see them."""

    def __init__(self, stage: Stage, values: Mapping[str, Any]) -> None:
        """Take the values of the parameters that templates use."""
        self.stage = stage
        self.values = values
        self.shown = {name: shown(value) for name, value in values.items()}

    def pname(self) -> str:
        """Return the stage's name. Raises BlueprintError when it cannot be part of a job id."""
        pname = fill(self.stage.pname, self.shown)
        if not NAME.fullmatch(pname) or len(pname) > LONGEST_NAME:
            raise BlueprintError(
                f"stage {self.stage.key!r}: {pname!r} cannot be a pname: use up to "
                f"{LONGEST_NAME} letters, digits and . _ + -"
            )
        return pname

    def outputs(self, outputs: Mapping[str, Any]) -> dict[str, Any]:
        """Return the templates filled; other values are descriptions and stay unchanged."""
        return {
            name: self._output(name, template) if isinstance(template, str) else template
            for name, template in outputs.items()
        }

    def _output(self, name: str, template: str) -> str:
        for hole in holes(template):
            text = self.shown.get(hole, "")
            if _NOT_IN_FILE_NAMES.search(text) or len(text.encode()) > LONGEST_NAME:
                raise BlueprintError(
                    f"stage {self.stage.key!r}, output {name!r}: the value {text[:60]!r} of "
                    f"parameter {hole!r} cannot be part of a file's name"
                )
        path = fill(template, self.shown)
        if ".." in path.split("/"):
            raise BlueprintError(
                f"stage {self.stage.key!r}, output {name!r}: {path!r} leaves the job's folder"
            )
        return path

    def resources(self, resources: Mapping[str, Any]) -> dict[str, Any]:
        """Return the hints that apply to this combination; later ``when`` entries win."""
        found = {name: value for name, value in resources.items() if name != "when"}
        for rule in resources.get("when") or []:
            if all(self._matches(name, wanted) for name, wanted in rule["if"].items()):
                found.update({name: value for name, value in rule.items() if name != "if"})
        for name, value in found.items():
            if isinstance(value, str):
                found[name] = fill(value, self.shown)
        if "time" in found:
            found["time"] = _slurm_time(str(found["time"]))
        cpus = found.get("cpus")
        if isinstance(cpus, str):
            if not cpus.isdecimal() or int(cpus) == 0:
                raise BlueprintError(f"stage {self.stage.key!r}: cpus: {cpus!r} is not a number")
            found["cpus"] = int(cpus)
        return found

    def _matches(self, name: str, wanted: Any) -> bool:  # noqa: ANN401  # any JSON value
        choices = wanted if isinstance(wanted, list) else [wanted]
        return any(_same(self.values.get(name), choice) for choice in choices)


def _slurm_time(text: str) -> str:
    """Return a duration with units as Slurm and RepX 0.5 write it; other text unchanged."""
    match = _TIME.fullmatch(text)
    if match is None or not match[0]:
        return text
    days, hours, minutes, seconds = (int(count or 0) for count in match.groups())
    total = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    days, rest = divmod(total, 86400)
    clock = f"{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}"
    return f"{days}-{clock}" if days else clock


def _same(left: Any, right: Any) -> bool:  # noqa: ANN401  # any JSON values
    """Return whether two JSON values are equal; ``true`` is not 1, but 1 is 1.0."""
    return bool(left == right) and isinstance(left, bool) == isinstance(right, bool)
