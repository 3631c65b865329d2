"""The limit: repx's own stage programs started by xargs, with all that they read at hand.

What is measured is what the jobs cost whatever starts them; nothing is locked, logged, checked
or marked. The programs, and the files of inputs and parameters that each is given, are those of
repx's Lab, written before the clock starts.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench import ours
from bench.peers import PARALLEL, Tool, Workload
from repx import launch
from repx.lab.load import open_lab

if TYPE_CHECKING:
    from repx.launch import Launch
    from repx.model import Job

GATHER: Final = "total"


def write(folder: Path, work: Workload) -> None:
    """Build the Lab, make what each job reads, and list the words that start it, by stage."""
    ours.write(folder, work)
    base = folder / ours.STORE
    opened = open_lab(folder / "result")
    stages: dict[str, list[str]] = {stage: [] for stage in (*work.stages, GATHER)}
    for job in opened.lab.jobs.values():
        (start,) = launch.of_job(opened.lab, str(base), job, lambda path: str(opened.root / path))
        _prepare(job, start)
        stages[job.name.rpartition("-")[0]].append(" ".join(start.words))
    for stage, lines in stages.items():
        (folder / stage).write_text("\n".join(lines) + "\n", encoding="utf-8")


def _prepare(job: Job, start: Launch) -> None:
    Path(start.out).mkdir(parents=True)
    _write_json(start.inputs_file, start.inputs)
    _write_json(start.parameters_file, job.params)
    for path in start.inputs.values():
        if "/artifacts/" in path:  # the metadata of the run before, which the gather looks at
            _write_json(path, {})


def _write_json(path: str, value: Mapping[str, object]) -> None:
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(value) + "\n", encoding="utf-8")


def commands(work: Workload) -> list[list[str]]:
    """Return one xargs per stage, which gives bash a program and its three arguments."""
    options = (f"-P{PARALLEL}", "-n4")
    return [["xargs", "-a", stage, *options, "bash"] for stage in (*work.stages, GATHER)]


LIMIT: Final = Tool(
    name="limit", program=shutil.which("xargs"), write=write, commands=commands, resumes=False
)
