"""repx as one more tool of the comparison, and a store that looks as if all jobs had run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Final

from bench.peers import PARALLEL, Tool, Workload, chain

REPX: Final = str(Path(sys.executable).with_name("repx"))
STORE: Final = "store"


def build(folder: Path) -> None:
    """Build the folder's lab.yaml; checking scripts is for people, not for the clock."""
    subprocess.run([REPX, "build"], cwd=folder, check=True, stdout=subprocess.DEVNULL)


def write_definition(folder: Path, work: Workload) -> None:
    """Write lab.yaml and targets.yaml, without building the Lab."""
    stages = [_stage(stage, before) for stage, before in chain(work)]
    last = work.stages[-1]
    pipe = " -> ".join([*work.stages, "total"])
    text = f"""\
stages:
{"".join(stages)}  total:
    version: "1.0"
    inputs: [numbers_{last}]
"""
    raise NotImplementedError(text, pipe)


def write(folder: Path, work: Workload) -> None:
    """Write the definition and build its Lab, which is not part of a run's time."""
    write_definition(folder, work)
    build(folder)


def _stage(stage: str, before: str | None) -> str:
    raise NotImplementedError(stage, before)


def run(_work: Workload) -> list[list[str]]:
    """Return the command that runs everything."""
    return [[REPX, "run", "-j", str(PARALLEL)]]


def succeed_all(folder: Path) -> None:
    """Leave in the store what a finished run of all jobs leaves where `repx` looks for it."""
    listed = subprocess.run(
        [REPX, "list", "jobs", "--json"], cwd=folder, check=True, capture_output=True
    )
    marker = '{"outcome":"success","exit":0,"reason":"","start":1.0,"end":2.0,"attempt":1}\n'
    for job in json.loads(listed.stdout):
        place = folder / STORE / "outputs" / job["id"] / "repx"
        place.mkdir(parents=True)
        (place / "SUCCESS").write_text(marker, encoding="utf-8")


OURS: Final = Tool(name="repx", program=REPX, write=write, commands=run)
