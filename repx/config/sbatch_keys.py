"""Options of sbatch for which repx has keys: written either way, repx itself heeds them."""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from repx.config import sbatch
from repx.config.units import parse_memory, parse_time
from repx.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from repx.target import Resources


def _mebibytes(text: str) -> int:
    """Return bytes; a bare number is MiB, as sbatch has it."""
    return parse_memory(f"{text}M" if text.isdecimal() else text)


_READ: Final[Mapping[str, tuple[str, Callable[[str], object]]]] = {
    "cpus-per-task": ("cpus", int),
    "mem": ("mem_bytes", _mebibytes),
    "mem-per-cpu": ("mem_per_cpu", _mebibytes),
    "mem-per-gpu": ("mem_per_gpu", _mebibytes),
    "partition": ("partition", str),
    "time": ("time_s", parse_time),
}
_MEMORY: Final = ("mem_bytes", "mem_per_cpu", "mem_per_gpu")  # only one of them applies


def as_keys(resources: Resources) -> Resources:
    """Return the resources with such options of ``sbatch_opts`` as fields, where they win.

    What sbatch would refuse stays, to be reported with the job's name, and so does a value that no
    field can have, such as ``--time=UNLIMITED``.
    """
    if not resources.sbatch_opts:
        return resources
    found: dict[str, Any] = {}
    rest = []
    try:
        for name, value in sbatch.read(resources.sbatch_opts):
            field, amount = _amount(name, value)
            if amount is None:
                rest.append(shlex.quote(f"--{name}" if value is None else f"--{name}={value}"))
            else:
                found |= dict.fromkeys(_MEMORY if field in _MEMORY else ()) | {field: amount}
    except InputError:
        return resources
    return replace(resources, **found, sbatch_opts=tuple(rest)) if found else resources


def _amount(name: str, value: str | None) -> tuple[str, object]:
    field, read = _READ.get(name, ("", str))
    if not field or value is None:
        return field, None
    try:
        return field, read(value)
    except InputError:
        return field, None
