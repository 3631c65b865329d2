"""Time and memory of repx beside other tools in the same run: one table, see bench/README.md."""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from bench import measure, ours
from bench.limit import LIMIT
from bench.measure import Sample
from bench.ours import OURS, REPX
from bench.peers import PEERS, PEERS_BIN, STAGES, Tool, Workload

OTHERS: Final = (LIMIT, *PEERS)
COLUMNS: Final = ("repx", *(tool.name for tool in OTHERS))
TOOLS: Final = (OURS, *(tool for tool in OTHERS if tool.program))


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How much to measure: ``rounds`` samples per figure, and numbers of jobs."""

    rounds: int
    cold: tuple[int, ...]
    again: int
    large: int
    listed: int


FULL: Final = Scale(rounds=3, cold=(301, 3_001, 15_001), again=3_001, large=100_001, listed=10_000)
QUICK: Final = Scale(rounds=1, cold=(301,), again=301, large=10_001, listed=1_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One line of the table: a value per tool, lower is better; ``target`` is repx's limit."""

    name: str
    unit: str
    values: Mapping[str, float]
    target: float | None = None


@dataclass(slots=True, kw_only=True)
class Bench:
    """Where this bench works; mutable in the number of folders it has made."""

    root: Path
    scale: Scale
    env: Mapping[str, str]
    made: int = 0

    def folder(self) -> Path:
        """Return a new empty folder."""
        self.made += 1
        folder = self.root / str(self.made)
        folder.mkdir()
        return folder

    def run(self, commands: Sequence[Sequence[str]], folder: Path) -> Sample:
        """Run commands one after another: their time in all, the largest memory."""
        samples = [measure.run(argv, cwd=folder, env=self.env) for argv in commands]
        return Sample(
            wall_s=sum(sample.wall_s for sample in samples),
            rss_mib=max(sample.rss_mib for sample in samples),
        )

    def interleaved(self, takers: Mapping[str, Callable[[], Sample]]) -> dict[str, Sample]:
        """Return the median of each, taken in turn (A B A B), so that all feel the same weather."""
        taken: dict[str, list[Sample]] = {name: [] for name in takers}
        for _ in range(self.scale.rounds):
            for name, take in takers.items():
                taken[name].append(take())
        return {
            name: Sample(
                wall_s=statistics.median(sample.wall_s for sample in samples),
                rss_mib=statistics.median(sample.rss_mib for sample in samples),
            )
            for name, samples in taken.items()
        }


def seconds(name: str, samples: Mapping[str, Sample], target: float) -> Figure:
    """Return the wall times as a figure."""
    values = {tool: sample.wall_s for tool, sample in samples.items()}
    return Figure(name=name, unit="s", values=values, target=target)


def memory(name: str, samples: Mapping[str, Sample], target: float | None = None) -> Figure:
    """Return the peak memories as a figure."""
    values = {tool: sample.rss_mib for tool, sample in samples.items()}
    return Figure(name=f"{name}, memory", unit="MiB", values=values, target=target)


def cold(bench: Bench) -> Iterator[Figure]:
    """Run workloads of growing size from nothing."""
    for jobs in bench.scale.cold:
        for shape in STAGES:
            yield from cold_of(bench, Workload.of_jobs(shape, jobs))


def cold_of(bench: Bench, work: Workload) -> Iterator[Figure]:
    """Run everything from nothing, each time in a new folder."""

    def take(tool: Tool) -> Sample:
        folder = bench.folder()
        tool.write(folder, work)
        return bench.run(tool.commands(work), folder)

    tools = [tool for tool in TOOLS if work.jobs <= tool.most_jobs]
    samples = bench.interleaved({tool.name: partial(take, tool) for tool in tools})
    name = f"cold run, {work.shape} {work.jobs:,}"
    values = {tool: sample.wall_s * 1000 / work.jobs for tool, sample in samples.items()}
    yield Figure(name=name, unit="ms/job", values=values, target=3)
    yield memory(name, samples)


def again(bench: Bench) -> Iterator[Figure]:
    """Run what has succeeded a second time, and ask about it."""
    work = Workload.of_jobs("SWEEP", bench.scale.again)
    takers: dict[str, Callable[[], Sample]] = {}
    for tool in TOOLS:
        if not tool.resumes:
            continue
        folder = bench.folder()
        tool.write(folder, work)
        bench.run(tool.commands(work), folder)
        takers[tool.name] = partial(bench.run, tool.commands(work), folder)
        if tool is OURS:
            yield from questions(bench, folder, work, limit_s=0.4)
    yield seconds(f"no-op re-run, {work.shape} {work.jobs:,}", bench.interleaved(takers), 0.4)


def questions(bench: Bench, folder: Path, work: Workload, limit_s: float) -> Iterator[Figure]:
    """Ask repx about a store in which every job has succeeded."""
    commands = {"run --dry-run": [REPX, "run", "--dry-run"], "status": [REPX, "status"]}
    for name, argv in commands.items():
        samples = bench.interleaved({"repx": partial(bench.run, [argv], folder)})
        title = f"`repx {name}`, {work.shape} {work.jobs:,}"
        yield seconds(title, samples, limit_s)
        yield memory(title, samples, target=1024)


def large(bench: Bench) -> Iterator[Figure]:
    """Build a large Lab, mark all of its jobs as done and ask about it."""
    work = Workload.of_jobs("SWEEP", bench.scale.large)

    folders: list[Path] = []

    def build() -> Sample:
        folders.append(bench.folder())
        ours.write_definition(folders[-1], work)
        return bench.run([[REPX, "build"]], folders[-1])

    samples = bench.interleaved({"repx": build})
    folder = folders[-1]
    yield seconds(f"`repx build`, {work.shape} {work.jobs:,}", samples, 30)
    yield memory(f"`repx build`, {work.shape} {work.jobs:,}", samples)
    ours.succeed_all(folder)
    samples = bench.interleaved({"repx": partial(bench.run, OURS.commands(work), folder)})
    yield seconds(f"no-op re-run, {work.shape} {work.jobs:,}", samples, 5)
    yield memory(f"no-op re-run, {work.shape} {work.jobs:,}", samples, target=1024)
    yield from questions(bench, folder, work, limit_s=5)


def start_up(bench: Bench) -> Iterator[Figure]:
    """Start each tool to say its version or its help, and repx to list runs."""
    work = Workload.of_jobs("WIDE", bench.scale.listed)
    folder = bench.folder()
    OURS.write(folder, work)
    programs = {tool.name: tool.program for tool in (OURS, *PEERS) if tool.program}
    for option, limit_ms in (("--version", 60), ("--help", 120)):
        takers = {
            name: partial(bench.run, [[program, option]], folder)
            for name, program in programs.items()
            if (name, option) != ("doit", "--help")  # it has a command for that
        }
        yield milliseconds(option, bench.interleaved(takers), limit_ms)
    taker = partial(bench.run, [[REPX, "list", "runs"]], folder)
    yield milliseconds(
        f"`repx list runs`, {work.jobs:,} jobs", bench.interleaved({"repx": taker}), 300
    )


def milliseconds(name: str, samples: Mapping[str, Sample], target: float) -> Figure:
    """Return the wall times as a figure for the impatient."""
    values = {tool: sample.wall_s * 1000 for tool, sample in samples.items()}
    return Figure(name=name, unit="ms", values=values, target=target)


PARTS: Final = {"start-up": start_up, "cold": cold, "again": again, "large": large}


def row(figure: Figure) -> str:
    """Return a figure as a line of the table; a peer's value with repx's multiple of it."""
    mine = figure.values["repx"]
    verdict = "" if figure.target is None else " ✓" if mine <= figure.target else " ✗"
    cells = [figure.name, figure.unit, f"{mine:.3g}{verdict}"]
    cells.append("" if figure.target is None else f"{figure.target:g}")
    for name in COLUMNS[1:]:
        value = figure.values.get(name)
        cells.append("" if value is None else f"{value:.3g} ({mine / value:.2g}x)")
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Measure and print the table, line by line as figures come in."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one round of small sizes, a minute")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"default: {' '.join(PARTS)}")
    options = parser.parse_args()
    ours.compile_modules()
    parts = [PARTS[name] for name in options.parts or PARTS]
    scale = QUICK if options.quick else FULL
    print(f"| Figure | Unit | repx | target | {' | '.join(COLUMNS[1:])} |")
    print(f"|---|---|{'---|' * (len(COLUMNS) + 1)}", flush=True)
    with tempfile.TemporaryDirectory(prefix="repx-bench-") as root:
        env = {**os.environ, "PATH": f"{PEERS_BIN}:{os.environ['PATH']}", "NO_COLOR": "1"}
        bench = Bench(root=Path(root), scale=scale, env=env)
        for part in parts:
            for figure in part(bench):
                print(row(figure), flush=True)


if __name__ == "__main__":
    main()
