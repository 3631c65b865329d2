"""`repx usage`: what jobs asked for beside what they used."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Final

import click

from repx import console, graph, select
from repx.cli import complete
from repx.cli.context import command
from repx.model import stage_of
from repx.reports import usage as reports
from repx.results import programs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from repx.cli.context import Context
    from repx.config.resources import Resolver
    from repx.model import JobId, Lab
    from repx.reports.usage import Ended, Measure, Usage
    from repx.store import Store

_HEADERS: Final = ("stage", "jobs", "what", "asked", "median", "p95", "max", "wasted")


@command(
    examples="""
        repx usage                      every job that has ended
        repx usage training -s fit      one stage of one run
        repx usage --json | jq '.stages[] | {stage, mem: .mem_bytes.max}'
        """
)
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=complete.names)
@click.option(
    "-s",
    "--stage",
    "stages",
    multiple=True,
    metavar="NAME",
    shell_complete=complete.stages,
    help="Only this stage. Repeatable.",
)
def usage(context: Context, names: tuple[str, ...], stages: tuple[str, ...]) -> None:
    """Show what jobs asked for and what they used.

    Median, 95th percentile and maximum of wall time, cores and peak memory, over the programs
    that have ended, and how many core-hours and GB-hours were asked for and not used. What was
    asked for is in the marker; where it is not, it is what Lab, profile and --resources say now.
    """
    lab = context.lab_to_look_at().lab
    target = context.target()
    jobs = select.jobs(lab, names, stages)
    found = list(_ended(lab, context.store(target), context.resources_of(lab, target), jobs))
    usages = reports.of_programs(sorted(found, key=_place(lab)))
    total = reports.total(usages)
    if context.json:
        console.json({"stages": [asdict(each) for each in usages], "wasted": total})
        return
    console.table(_HEADERS, [row for each in usages for row in _rows(each)])
    if not usages:
        console.note("no job has ended yet, or none says how long it took")
        return
    cores, memory = (_number(total[unit]) for unit in ("core_hours", "gb_hours"))
    console.note(f"asked for and not used: {cores} core-hours, {memory} GB-hours")


def _ended(lab: Lab, store: Store, asked_by: Resolver, jobs: Sequence[JobId]) -> Iterator[Ended]:
    runs = lab.runs_of_jobs()
    for job, phase, marker in programs.ended(store, [lab.jobs[job] for job in jobs]):
        if marker.duration_s is None:
            continue
        asked = marker.asked or asked_by(job, runs[job.id][0], phase)
        yield reports.Ended(
            stage=job.stage,
            phase=phase.name,
            wall_s=marker.duration_s,
            cpu_s=marker.cpu_s,
            rss_bytes=marker.rss_bytes,
            cpus=asked.cpus,
            mem_bytes=asked.mem_bytes,
            time_s=asked.time_s,
            gpus=asked.gpus or None,
        )


def _place(lab: Lab) -> Callable[[Ended], tuple[int, int]]:
    """Return how to sort: stages before those that need them, then by the order of phases."""
    first_of_stage: dict[str, JobId] = {}
    for job in graph.order(lab.needs):
        first_of_stage.setdefault(stage_of(job), job)
    places = {
        (stage, phase.name): (number, position)
        for number, (stage, job) in enumerate(first_of_stage.items())
        for position, phase in enumerate(lab.jobs[job].phases)
    }
    return lambda ended: places.get((ended.stage, ended.phase), (len(places), 0))


def _rows(usage: Usage) -> Iterator[Sequence[str]]:
    name = usage.stage if usage.phase == "main" else f"{usage.stage} {usage.phase}"
    for what, measure, shown, unit in (
        ("time", usage.time_s, console.duration, ""),
        ("cores", usage.cores, _number, " core-h"),
        ("memory", usage.mem_bytes, _size, " GB-h"),
        *((("gpus", usage.gpus, _number, ""),) if usage.gpus.asked else ()),
    ):
        used = (_known(value, shown) for value in (measure.median, measure.p95, measure.max))
        wasted = _known(measure.wasted, _number)
        yield (
            name,
            str(usage.programs),
            what,
            _asked(measure, shown),
            *used,
            wasted if measure.wasted is None else wasted + unit,
        )


def _asked(measure: Measure, shown: Callable[[float], str]) -> str:
    if measure.asked is None:
        return "-"
    return "-".join(dict.fromkeys(shown(value) for value in measure.asked))


def _known(value: float | None, shown: Callable[[float], str]) -> str:
    return "-" if value is None else shown(value)


def _number(value: float | None) -> str:
    """Return a number with as many digits as a decision needs."""
    if value is None:
        return "unknown"
    if value >= 10:  # noqa: PLR2004  # two digits
        return f"{value:.0f}"
    return f"{value:.2f}".removesuffix("0").removesuffix(".0")


def _size(value: float) -> str:
    return console.size(round(value))
