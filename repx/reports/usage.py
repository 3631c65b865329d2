"""Resources that jobs asked for and used, stage by stage."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_HOUR_S: Final = 3600
_GIB: Final = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """One program that has ended: the resources it asked for and used; None if unknown.

    ``phase`` is ``main``, or a phase of a scatter-gather job.
    """

    stage: str
    phase: str
    wall_s: float
    cpu_s: float | None = None
    rss_bytes: int | None = None
    cpus: int | None = None
    mem_bytes: int | None = None
    time_s: int | None = None
    gpus: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One resource over many programs. ``asked`` is the smallest and largest amount asked for.

    ``wasted`` is the amount asked for but not used, times the wall time.
    """

    asked: tuple[float, float] | None = None
    median: float | None = None
    p95: float | None = None
    max: float | None = None
    wasted: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """The resources that the programs of one phase of a stage asked for and used.

    Time is in seconds; memory in bytes, the peak of a program's largest process; cores used are
    processor time over wall time. Wasted are core-hours and GB-hours (1 GB is 1024 MB). How much of
    its GPUs a program uses is not measured.
    """

    stage: str
    phase: str
    programs: int
    time_s: Measure
    cores: Measure
    mem_bytes: Measure
    gpus: Measure


def of_programs(programs: Iterable[Ended]) -> list[Usage]:
    """Return the usage of each stage's phases, in the order of first occurrence."""
    groups: dict[tuple[str, str], list[Ended]] = defaultdict(list)
    for program in programs:
        groups[program.stage, program.phase].append(program)
    return [_usage(stage, phase, group) for (stage, phase), group in groups.items()]


def total(usages: Sequence[Usage]) -> Mapping[str, float | None]:
    """Return the total of wasted core-hours and GB-hours; None if unknown."""
    return {
        "core_hours": _sum(usage.cores.wasted for usage in usages),
        "gb_hours": _sum(usage.mem_bytes.wasted for usage in usages),
    }


def _usage(stage: str, phase: str, programs: Sequence[Ended]) -> Usage:
    cores = [(p, p.cpus, None if p.cpu_s is None else _ratio(p.cpu_s, p.wall_s)) for p in programs]
    memory = [(p, p.mem_bytes, p.rss_bytes) for p in programs]
    return Usage(
        stage=stage,
        phase=phase,
        programs=len(programs),
        time_s=_measure([(p.time_s, p.wall_s) for p in programs]),
        cores=_measure([(asked, used) for _, asked, used in cores], _wasted(cores)),
        mem_bytes=_measure(
            [(asked, used) for _, asked, used in memory], _wasted(memory, unit=_GIB)
        ),
        gpus=_measure([(p.gpus, None) for p in programs]),
    )


def _measure(
    pairs: Sequence[tuple[float | None, float | None]], wasted: float | None = None
) -> Measure:
    asked = [each for each, _ in pairs if each is not None]
    used = sorted(each for _, each in pairs if each is not None)
    return Measure(
        asked=(min(asked), max(asked)) if asked else None,
        median=_ranked(used, 0.5),
        p95=_ranked(used, 0.95),
        max=_ranked(used, 1),
        wasted=wasted,
    )


def _ranked(values: Sequence[float], share: float) -> float | None:
    """Return the smallest value that this share of values does not exceed (nearest rank)."""
    return values[max(math.ceil(share * len(values)), 1) - 1] if values else None


def _wasted(
    programs: Iterable[tuple[Ended, float | None, float | None]], *, unit: float = 1
) -> float | None:
    return _sum(
        max(asked - used, 0) * program.wall_s / _HOUR_S / unit
        for program, asked, used in programs
        if asked is not None and used is not None
    )


def _ratio(cpu_s: float, wall_s: float) -> float | None:
    return cpu_s / wall_s if wall_s > 0 else None


def _sum(values: Iterable[float | None]) -> float | None:
    known = [each for each in values if each is not None]
    return sum(known) if known else None
