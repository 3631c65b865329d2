"""Slurm: calls of sbatch, controller RPCs and time, beside hand-written ways, on one cluster.

    make bench-slurm [BENCH=--quick]

Starts a private cluster (tests/real/slurm_cluster.py; needs root and Slurm), prints one Markdown
table. RPCs are all that the controller counted between submitting and the last job's end
(sdiag). The makespan begins with the command a user types and ends when the queue is empty.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench import measure, ours, peers  # noqa: E402
from bench.peers import PEERS_BIN, Workload  # noqa: E402
from tests.real import slurm_cluster  # noqa: E402

if TYPE_CHECKING:
    from tests.real.slurm_cluster import Cluster

# Every way runs the same trivial command per job, with the environment Slurm itself gives.
JOB: Final = "echo 1 >/dev/null"
SNAKEMAKE: Final = PEERS_BIN / "snakemake"
MOST_SNAKEMAKE_JOBS: Final = 202
HEADER: Final = "#!/bin/bash\n#SBATCH --output=/dev/null\n#SBATCH --export=NONE\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One way to run one workload: seconds, RPCs, calls of sbatch."""

    way: str
    makespan_s: float
    rpcs: int
    sbatch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """A cluster and a folder to work in."""

    cluster: Cluster
    root: Path

    def measure(self, way: str, submit: Callable[[], int], timeout_s: float = 600) -> Figure:
        """Run one way to its end; ``submit`` returns its number of sbatch calls."""
        self.cluster.sh("sdiag", "--reset")
        began = time.perf_counter()
        calls = submit()
        while self.cluster_busy():
            time.sleep(0.2)
            if time.perf_counter() - began > timeout_s:
                message = f"{way}: not done after {timeout_s} s"
                raise TimeoutError(message)
        took = time.perf_counter() - began
        return Figure(way=way, makespan_s=took, rpcs=self.rpcs(), sbatch=calls)

    def cluster_busy(self) -> bool:
        """Return whether any job has not ended."""
        return bool(self.cluster.sh("squeue", "--noheader").stdout)

    def rpcs(self) -> int:
        """Return how many RPCs the controller has counted, without those of this bench."""
        said = self.cluster.sh("sdiag").stdout
        counted = re.findall(r"^\s+(REQUEST_\w+|MESSAGE_\w+)\s.*count:(\d+)", said, re.MULTILINE)
        own = ("REQUEST_JOB_INFO", "REQUEST_STATS_INFO", "REQUEST_PARTITION_INFO")
        return sum(int(count) for name, count in counted if name not in own)

    def repx(self, folder: Path, *words: str) -> dict[str, Any]:
        """Run repx in a folder and return its --json."""
        done = subprocess.run(
            [ours.REPX, *words, "--json"],
            cwd=folder,
            env=self.cluster.env,
            check=True,
            capture_output=True,
            text=True,
        )
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def lab(self, work: Workload, slurm: dict[str, object]) -> Path:
        """Write and build a workload; return its folder."""
        folder = Path(tempfile.mkdtemp(dir=self.root))
        ours.write(folder, work)
        target = {"base_path": str(folder / "store"), "scheduler": "slurm", "slurm": slurm}
        (folder / "targets.yaml").write_text(json.dumps({"targets": {"local": target}}))
        return folder

    def sbatch(self, script: str, *words: str) -> str:
        """Submit a script by hand; return its id."""
        path = self.root / "by-hand.sh"
        path.write_text(f"{HEADER}{script}\n")
        return self.cluster.sh("sbatch", "--parsable", *words, str(path)).stdout.strip()


def ways(bench: Bench, work: Workload) -> Iterator[Figure]:
    """Yield every way to run one workload."""

    def by_repx(slurm: dict[str, object]) -> Callable[[], int]:
        folder = bench.lab(work, slurm)
        return lambda: len(bench.repx(folder, "run")["slurm"])

    bundle = {"name": "all", "stage": "*", "cpus": 8}
    yield bench.measure("repx, arrays", by_repx({}))
    yield bench.measure("repx, one bundle", by_repx({"bundle": bundle}))
    yield bench.measure("arrays by hand", lambda: arrays_by_hand(bench, work))
    yield bench.measure("one allocation, xargs", lambda: one_allocation(bench, work))
    yield bench.measure("one sbatch a job", lambda: one_by_one(bench, work))
    if SNAKEMAKE.exists() and work.jobs <= MOST_SNAKEMAKE_JOBS:
        yield bench.measure("snakemake", lambda: by_snakemake(bench, work), timeout_s=1200)


def arrays_by_hand(bench: Bench, work: Workload) -> int:
    """Submit one array per stage with aftercorr, and a gather."""
    before = ""
    for number, _ in enumerate(work.stages):
        wait = (f"--dependency=aftercorr:{before}",) if number else ()
        before = bench.sbatch(JOB, f"--array=0-{work.width - 1}", *wait)
    bench.sbatch(JOB, f"--dependency=afterok:{before}")
    return len(work.stages) + 1


def one_allocation(bench: Bench, work: Workload) -> int:
    """Submit one job that runs all chains with xargs, and then the gather."""
    chain = "; ".join([JOB] * len(work.stages))
    bench.sbatch(f"seq {work.width} | xargs -P 8 -I@ bash -c '{chain}'; {JOB}", "--cpus-per-task=8")
    return 1


def one_by_one(bench: Bench, work: Workload) -> int:
    """Submit every job by itself."""
    ends = []
    for _ in range(work.width):
        before = ""
        for number, _ in enumerate(work.stages):
            wait = (f"--dependency=afterok:{before}",) if number else ()
            before = bench.sbatch(JOB, *wait)
        ends.append(before)
    bench.sbatch(JOB, f"--dependency=afterok:{':'.join(ends)}")
    return work.width * len(work.stages) + 1


def by_snakemake(bench: Bench, work: Workload) -> int:
    """Let snakemake's Slurm plugin submit every job by itself."""
    folder = Path(tempfile.mkdtemp(dir=bench.root))
    peers.write_snakemake(folder, work)
    # The plugin clears SLURM_CONF, which a private cluster cannot do without.
    shim = folder / "bin" / "srun"
    shim.parent.mkdir()
    conf = shlex.quote(bench.cluster.env["SLURM_CONF"])
    shim.write_text(f'#!/bin/sh\nSLURM_CONF={conf} exec {shutil.which("srun")} "$@"\n')
    shim.chmod(0o755)
    asked = ("mem_mb=300", "runtime=5", "slurm_account=root", "slurm_partition=main")
    subprocess.run(
        [
            *(SNAKEMAKE, "--executor", "slurm", "--jobs", str(work.jobs), "--quiet", "all"),
            *("--slurm-status-command", "squeue", "--default-resources", *asked),
        ],
        cwd=folder,
        env={**bench.cluster.env, "PATH": f"{shim.parent}:{bench.cluster.env['PATH']}"},
        check=True,
    )
    return work.jobs


def large(bench: Bench, width: int) -> Iterator[str]:
    """Yield lines on submitting a large sweep and asking how it is."""
    folder = bench.lab(Workload(shape="SWEEP", width=width), {})
    bench.cluster.sh("scontrol", "update", "PartitionName=main", "State=DOWN")  # nothing starts
    began = time.perf_counter()
    submitted = bench.repx(folder, "run")
    took = time.perf_counter() - began
    jobs = 3 * width + 1
    calls = len(submitted["slurm"])
    yield f"{jobs:,} jobs rendered and submitted: {took:.1f} s, {calls} calls of sbatch"
    sample = measure.run([ours.REPX, "status", "--json"], cwd=folder, env=bench.cluster.env)
    yield f"status of {jobs:,} jobs: {sample.wall_s:.2f} s, {sample.rss_mib:.0f} MiB"
    bench.cluster.sh("scancel", "--user=root")
    bench.cluster.sh("scontrol", "update", "PartitionName=main", "State=UP")


@contextmanager
def running() -> Iterator[Bench]:
    """Give a cluster that takes enough jobs, and a folder."""
    with slurm_cluster.running() as cluster, tempfile.TemporaryDirectory() as root:
        cluster.configure(MaxJobCount=100_000)
        cluster.env.update({name: os.environ[name] for name in ("HOME",) if name in os.environ})
        yield Bench(cluster=cluster, root=Path(root))


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes, two minutes")
    quick = parser.parse_args().quick
    ours.compile_modules()
    with running() as bench:
        for line in large(bench, 1_000 if quick else 10_000):
            print(f"- {line}", flush=True)
        bench.cluster.drain()
        works = (Workload(shape="SWEEP", width=20),) if quick else WORKS
        for work in works:
            print(f"\n{work.width} chains of {len(work.stages)}, one gather\n")
            print("| way | makespan (s) | RPCs | sbatch |\n|---|---|---|---|")
            for figure in ways(bench, work):
                print(
                    f"| {figure.way} | {figure.makespan_s:.1f} | {figure.rpcs} | {figure.sbatch} |",
                    flush=True,
                )


WORKS: Final = (
    Workload(shape="SWEEP", width=67),
    Workload(shape="WIDE", width=200),
)

if __name__ == "__main__":
    main()
