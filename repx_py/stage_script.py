"""What a stage written in Python finds when it starts: ``repx_py.stage()``.

Standard library only, and nothing else of ours: Labs carry a copy of this file to targets
where repx is not installed.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Stage:
    """One job as its program sees it.

    ``out`` is the folder to write to, and the current one. ``inputs`` maps names to paths,
    ``outputs`` to the paths that must exist in the end, ``parameters`` to values. Where a value
    names a file of the Lab, it is that file's path.
    """

    out: Path
    inputs: dict[str, Path]
    parameters: dict[str, Any]
    outputs: dict[str, Path]


def stage() -> Stage:
    """Return this job's inputs, parameters and outputs.

    Raises RuntimeError when the program was not started as a stage of a Lab.
    """
    environment = os.environ  # noqa: TID251  # a stage is a program of its own
    try:
        place = Path(environment["REPX_OUT"])
        inputs = _read(environment["REPX_INPUTS_JSON"])
        parameters = _read(environment["REPX_PARAMETERS_JSON"])
        outputs = json.loads(environment["REPX_OUTPUTS"])
        lab = environment["REPX_LAB"]
    except KeyError as missing:
        message = f"{missing.args[0]} is not set: this program runs as a stage of a Lab (repx run)"
        raise RuntimeError(message) from None
    return Stage(
        out=place,
        inputs={name: Path(path) for name, path in inputs.items()},
        parameters={name: _in_lab(value, lab) for name, value in parameters.items()},
        outputs={name: Path(path) for name, path in outputs.items()},
    )


def _read(path: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
    return content


def _in_lab(value: object, lab: str) -> object:
    """Replace a leading ``$lab/``, which stands for the Lab wherever it was copied to."""
    if isinstance(value, str) and value.startswith("$lab/"):
        return f"{lab}/{value[len('$lab/') :]}"
    return value
