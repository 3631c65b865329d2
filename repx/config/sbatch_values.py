"""The forms of values of sbatch's options: wrong values are reported before Slurm is asked.

The table has the facts of sbatch(1), 22.05; options that are not in the table take any text. Pure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from repx.errors import InputError

_MOST: Final = 1000  # characters; Slurm has no longer accounts or lists of nodes


@dataclass(frozen=True, slots=True)
class _Kind:
    """The form of a value: a pattern, and an example."""

    pattern: re.Pattern[str]
    like: str


def _kind(pattern: str, like: str) -> _Kind:
    return _Kind(re.compile(pattern, re.IGNORECASE), like)


_SIZE: Final = r"[0-9]{1,12}(?:[KMGT]B?)?"
_CLOCK: Final = r"[0-9]{1,9}(?::[0-9]{1,9}){0,2}"
_COUNT: Final = _kind(r"[1-9][0-9]{0,8}", "4")
_NUMBER: Final = _kind(r"[0-9]{1,9}", "0 or 4")
_MEMORY: Final = _kind(_SIZE, "4G or 4096 (MiB)")
_TIME: Final = _kind(
    rf"{_CLOCK}|[0-9]{{1,9}}-{_CLOCK}|UNLIMITED|INFINITE", "90 (minutes), 01:30:00 or 2-12:00:00"
)
_NODES: Final = _kind(
    r"[1-9][0-9]{0,8}[km]?(?:-[1-9][0-9]{0,8}[km]?)?(?:,[0-9,:-]{1,100})?", "2 or 2-4"
)
_GPUS: Final = _kind(r"[\w.:-]{1,100}(?:,[\w.:-]{1,100}){0,20}", "2 or a100:2")

_KINDS: Final = {
    **dict.fromkeys(("cpus-per-task", "cpus-per-gpu", "cores-per-socket", "mincpus"), _COUNT),
    **dict.fromkeys(("sockets-per-node", "threads-per-core", "ntasks"), _COUNT),
    **dict.fromkeys(("ntasks-per-core", "ntasks-per-gpu", "ntasks-per-node"), _COUNT),
    **dict.fromkeys(("ntasks-per-socket", "ntasks-per-tres", "tasks-per-node"), _COUNT),
    **dict.fromkeys(("core-spec", "thread-spec"), _NUMBER),
    **dict.fromkeys(("gpus", "gpus-per-node", "gpus-per-socket", "gpus-per-task"), _GPUS),
    **dict.fromkeys(("mem", "mem-per-cpu", "mem-per-gpu", "tmp"), _MEMORY),
    **dict.fromkeys(("time", "time-min", "delay-boot"), _TIME),
    "extra-node-info": _kind(r"(?:[0-9]{1,9}|\*)(?::(?:[0-9]{1,9}|\*)){0,2}", "2:4:1"),
    "nice": _kind(r"[+-]?[0-9]{1,10}", "100"),
    "nodes": _NODES,
    "priority": _kind(r"[0-9]{1,10}|TOP", "1000"),
    "switches": _kind(rf"[0-9]{{1,9}}(?:@{_TIME.pattern.pattern})?", "1 or 1@30:00"),
    "wait-all-nodes": _kind("[01]", "1"),
}


def check(name: str, value: str | None) -> None:
    """Raise InputError for a value that sbatch would reject, or that is not text of one line."""
    if value is None:
        return
    shown = value if len(value) <= 40 else f"{value[:40]}..."  # noqa: PLR2004  # enough to find it
    if len(value) > _MOST:
        raise InputError(
            f"--{name}={shown!r} has {len(value)} characters",
            hint=f"sbatch_opts may have values of up to {_MOST} characters",
        )
    if not value.isprintable():
        raise InputError(
            f"--{name}={shown!r} has a line break or a control character",
            hint="write the value on one line",
        )
    kind = _KINDS.get(name)
    if kind is not None and not kind.pattern.fullmatch(value):
        raise InputError(
            f"--{name}={shown!r} is not what sbatch understands",
            hint=f"write it like --{name}={kind.like}",
        )
