"""repx as one more tool of the comparison, and a store that looks as if all jobs had run."""

from __future__ import annotations

import compileall
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import repx
from bench import measure
from bench.peers import PARALLEL, Tool, Workload, chain

REPX: Final = str(Path(sys.executable).with_name("repx"))
STORE: Final = "store"
GATHER: Final = """\
  total:
    inputs: [metadata__chains, store__base]
    outputs: {total: $out/total}
    run: |
      test -s "${inputs[metadata__chains]}"
      find "${inputs[store__base]}/outputs" -path '*-LAST-1.0/out/n' -exec cat {} + |
        wc -l > "${outputs[total]}"
"""


def compile_modules() -> None:
    """Compile repx as `pip install` does, for where Python is told to write no bytecode."""
    compileall.compile_dir(Path(repx.__file__).parent, quiet=1)


def stage(name: str, before: str | None) -> str:
    """Return one stage of lab.yaml, which does what `peers.script` does."""
    if before is None:
        head = "parameters: {i: 0}"
        run = 'echo "${parameters[i]}"'
    else:
        head = f"inputs: [{before}]"
        run = f'read -r x < "${{inputs[{before}]}}"; echo $((x + 1))'
    return f"""\
  {name}:
    {head}
    outputs: {{{name}: $out/n}}
    run: |
      {run} > "${{outputs[{name}]}}"
"""


def write_definition(folder: Path, work: Workload) -> None:
    """Write lab.yaml and targets.yaml; the gather is a second run, which waits for the first."""
    stages = "".join(stage(*link) for link in chain(work))
    lab = f"""\
stages:
{stages}{GATHER.replace("LAST", work.stages[-1])}
pipelines:
  chains: [{", ".join(work.stages)}]
  total: [total]
runs:
  chains: {{pipelines: [chains], parameters: {{i: {{range: [0, {work.width - 1}]}}}}}}
  total: {{pipelines: [total], dependencies: {{chains: hard}}}}
"""
    (folder / "lab.yaml").write_text(lab, encoding="utf-8")
    # The same in every folder: a profile is written once, and its check is remembered.
    targets = f"targets: {{local: {{base_path: {STORE}}}}}\n"
    (folder / "targets.yaml").write_text(targets, encoding="utf-8")


def write(folder: Path, work: Workload) -> None:
    """Write the definition and build its Lab, which is not part of a run's time."""
    write_definition(folder, work)
    measure.run([REPX, "build"], cwd=folder, env=os.environ)


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
