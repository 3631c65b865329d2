"""The same trivial work for every tool: how each is told of it, and the commands to run it.

WIDE is N independent jobs and one gather; SWEEP is N combinations of a three-stage chain and one
gather. A job of the first stage writes its number, one of a later stage adds 1 to what it
reads, the gather counts lines. No job starts a program of its own except the gather.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

STAGES: Final = {"WIDE": ("a",), "SWEEP": ("a", "b", "c")}
PARALLEL: Final = 2
PEERS_BIN: Final = Path(sys.prefix) / "peers" / "bin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """``width`` chains, one job per stage of ``shape`` in each, and one gather."""

    shape: str
    width: int

    @property
    def stages(self) -> Sequence[str]:
        """Return the names of the stages of a chain, first to last."""
        return STAGES[self.shape]

    @property
    def jobs(self) -> int:
        """Return how many jobs there are in all."""
        return self.width * len(self.stages) + 1

    @classmethod
    def of_jobs(cls, shape: str, jobs: int) -> Workload:
        """Return the workload with about this many jobs."""
        return cls(shape=shape, width=(jobs - 1) // len(STAGES[shape]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A tool: ``write`` puts a workload into an empty folder, ``commands`` run it there.

    ``most_jobs`` spares the reader an hour of waiting for a tool that is slow.
    """

    name: str
    program: str | None
    write: Callable[[Path, Workload], None]
    commands: Callable[[Workload], list[list[str]]]
    most_jobs: int = 15_001
    resumes: bool = True


def script(stage: str, before: str | None, number: str) -> str:
    """Return the shell text of one job; ``number`` is the tool's own word for its index."""
    if before is None:
        return f"echo {number} > {stage}/{number}"
    return f"read -r x < {before}/{number}; echo $((x + 1)) > {stage}/{number}"


def gather(last: str) -> str:
    """Return the shell text of the gather job."""
    return f"cat {last}/* | wc -l > total"


def chain(work: Workload) -> list[tuple[str, str | None]]:
    """Return each stage with the one before it."""
    return list(zip(work.stages, (None, *work.stages), strict=False))


def _folders(folder: Path, work: Workload) -> None:
    for stage in work.stages:
        (folder / stage).mkdir()


def write_make(folder: Path, work: Workload) -> None:
    """Write a Makefile with one pattern rule per stage."""
    _folders(folder, work)
    last = work.stages[-1]
    numbers = " ".join(str(number) for number in range(work.width))
    lines = [f"all := $(addprefix {last}/,{numbers})", "total: $(all)", f"\t{gather(last)}"]
    for stage, before in chain(work):
        need = f"{before}/%" if before else ""
        text = script(stage, before, "NUMBER").replace("$", "$$").replace("NUMBER", "$*")
        lines += [f"{stage}/%: {need}", f"\t{text}"]
    lines.append(".SECONDARY:")
    (folder / "Makefile").write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_doit(folder: Path, work: Workload) -> None:
    """Write a dodo.py with one task per job."""
    _folders(folder, work)
    lines = ["DOIT_CONFIG = {'default_tasks': ['total'], 'verbosity': 0}"]
    for stage, before in chain(work):
        needs = f"[f'{before}/{{i}}']" if before else "[]"
        text = script(stage, before, "{i}")
        lines += [
            f"def task_{stage}():",
            f"    for i in range({work.width}):",
            f"        yield {{'name': str(i), 'actions': [f'''{text}'''],",
            f"               'file_dep': {needs}, 'targets': [f'{stage}/{{i}}'],",
            f"               'uptodate': {[True] if before is None else []}}}",
        ]
    last = work.stages[-1]
    lines += [
        "def task_total():",
        f"    needs = [f'{last}/{{i}}' for i in range({work.width})]",
        f"    return {{'actions': ['{gather(last)}'], 'file_dep': needs, 'targets': ['total']}}",
    ]
    (folder / "dodo.py").write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_snakemake(folder: Path, work: Workload) -> None:
    """Write a Snakefile with one wildcard rule per stage."""
    last = work.stages[-1]
    lines = [
        "rule total:",
        f"    input: expand('{last}/{{i}}', i=range({work.width}))",
        "    output: 'total'",
        f"    shell: '{gather(last)}'",
    ]
    for stage, before in chain(work):
        lines += [f"rule {stage}:"]
        lines += [f"    input: '{before}/{{i}}'"] if before else []
        lines += [f"    output: '{stage}/{{i}}'"]
        lines += [f"    shell: '{script(stage, before, '{wildcards.i}')}'"]
    (folder / "Snakefile").write_text("\n".join(lines) + "\n", encoding="utf-8")


def parallel_commands(work: Workload) -> list[list[str]]:
    """Return one GNU parallel per stage: it knows no dependencies, so stages run in turn."""
    options = [f"-j{PARALLEL}", "--joblog"]
    stages = [
        ["parallel", *options, f"{stage}.log", script(stage, before, "{}"), "::::", "numbers"]
        for stage, before in chain(work)
    ]
    return [*stages, ["sh", "-c", gather(work.stages[-1])]]


def write_parallel(folder: Path, work: Workload) -> None:
    """Write the list of numbers."""
    _folders(folder, work)
    text = "".join(f"{number}\n" for number in range(work.width))
    (folder / "numbers").write_text(text, encoding="utf-8")


def write_wrapper(folder: Path, work: Workload) -> None:
    """Write what a careful user writes by hand: lock, mkdir, run with logs, check, rename."""
    write_parallel(folder, work)
    cases = [f"  {stage}) {script(stage, before, '$2')} ;;" for stage, before in chain(work)]
    lines = [
        "record=$1/$2.record",
        'mkdir "$record"',
        'exec 9>"$record/lock"',
        "flock -n 9 || exit 75",
        'bash job.sh "$1" "$2" >"$record/stdout" 2>"$record/stderr" && [[ -e $1/$2 ]] || exit 1',
        'echo ok >"$record/part" && mv "$record/part" "$record/SUCCESS"',
    ]
    (folder / "wrapper.sh").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "job.sh").write_text("\n".join(["case $1 in", *cases, "esac", ""]), encoding="utf-8")


def wrapper_commands(work: Workload) -> list[list[str]]:
    """Return one xargs per stage, which starts the wrapper for every number."""
    xargs = ["xargs", "-a", "numbers", f"-P{PARALLEL}", "-n1", "bash", "wrapper.sh"]
    last = work.stages[-1]
    total = f"find {last} -maxdepth 1 -type f -exec cat {{}} + | wc -l > total"
    return [*([*xargs, stage] for stage in work.stages), ["sh", "-c", total]]


def _always(*argv: str) -> Callable[[Workload], list[list[str]]]:
    return lambda _work: [list(argv)]


PEERS: Final = (
    Tool(
        name="make",
        program=shutil.which("make"),
        write=write_make,
        commands=_always("make", "-s", f"-j{PARALLEL}"),
    ),
    Tool(
        name="doit",
        program=shutil.which("doit", path=PEERS_BIN),
        write=write_doit,
        commands=_always(str(PEERS_BIN / "doit"), "-n", str(PARALLEL)),
    ),
    Tool(
        name="parallel",
        program=shutil.which("parallel"),
        write=write_parallel,
        commands=parallel_commands,
        resumes=False,
    ),
    Tool(
        name="wrapper",
        program=shutil.which("xargs"),
        write=write_wrapper,
        commands=wrapper_commands,
        resumes=False,
    ),
    Tool(
        name="snakemake",
        program=shutil.which("snakemake", path=PEERS_BIN),
        write=write_snakemake,
        commands=_always(str(PEERS_BIN / "snakemake"), "--quiet", "all", f"-j{PARALLEL}"),
        most_jobs=3_001,
    ),
)
