"""Slurm under attack, counted: python -m campaign.slurm retries|kills [--jobs N] [--seed N].

Needs root and Slurm: a private cluster, on which an ordinary user uses repx. ``retries``: jobs of
one DAG lack memory, come to their time limits and lose their nodes while no client is there.
``kills``: whatever submits is killed at random moments, again and again.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.real import people, slurm_cluster, slurm_user
from tests.real.slurm_place import Place

if TYPE_CHECKING:
    from tests.real.slurm_cluster import Cluster

_STAGES: Final = 4
# One kind of trouble on the first attempt; `told` is where the administrator looks.
_ID: Final = "${{SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}}${{SLURM_ARRAY_TASK_ID:+_$SLURM_ARRAY_TASK_ID}}"
_TROUBLE: Final[Mapping[str, str]] = {
    "oom": "{{ head -c 60000000 /dev/zero | tr '\\0' x; sleep 3; }} | tail -n 1 | wc -c",
    "timeout": f"echo {_ID} >'{{told}}/'$$.timeout; sleep 600",
    "node": "echo $SLURMD_NODENAME >'{told}/'$$.node; sleep 600",
}
_RETRIES: Final = {"n": 6, "mem": "x4", "time": "x2"}


def retries(place: Place, jobs: int, chance: random.Random) -> dict[str, int]:
    """Let a tenth lack memory, a tenth time, a twentieth lose its node; return what happened."""
    told = place.folder / "told"
    told.mkdir()
    slurm_user.give(told)
    kinds = ["oom"] * (jobs // 10) + ["timeout"] * (jobs // 10) + ["node"] * (jobs // 20)
    kinds += [""] * (jobs - len(kinds))
    chance.shuffle(kinds)
    _dag(place, kinds, told)
    place.target(retries=_RETRIES, slurm={"mem": "30M", "time": "30m"})
    place.repx("run")
    while place.cluster.queue():
        _administer(place.cluster, told)
        time.sleep(1)
    states = list(place.states().values())
    marks = [place.marker(job, "SUCCESS") for job in place.lab.jobs if _succeeded(place, job)]
    again = (place.store / "submissions").glob("*/again/*.tsv")
    return {
        "jobs": jobs,
        "succeeded": states.count("succeeded"),
        "failures": sum(mark["attempt"] - 1 for mark in marks),
        "submissions more": 2 * sum(len(path.read_text().splitlines()) for path in again),
    }


def _succeeded(place: Place, job: str) -> bool:
    return (place.repx_dir(job) / "SUCCESS").exists()


def _dag(place: Place, kinds: list[str], told: Path) -> None:
    """Add chains of jobs, each of which has its trouble once."""
    above: list[str] = []
    for number, kind in enumerate(kinds):
        stage = number * _STAGES // len(kinds)
        trouble = _TROUBLE[kind].format(told=told) if kind else ""
        # What is lacked is lacked until there is more; the rest comes once.
        once = (
            trouble if kind == "oom" else f"[[ -e ../tried ]] || {{ touch ../tried; {trouble}; }}"
        )
        script = f"{once}; echo done >o" if kind else "echo done >o"
        width = len(kinds) // _STAGES
        needs = [above[number - width]] if stage and number >= width else []
        above.append(place.lab.job(f"s{stage}", script, needs=needs))


def _administer(cluster: Cluster, told: Path) -> None:
    """End what says that its time is over, and let a node die on which a job wants that."""
    overdue = []
    for path in told.glob("*.timeout"):
        overdue += path.read_text().split()
        path.unlink()
    if overdue:
        cluster.sh("scontrol", "update", f"JobId={','.join(overdue)}", "EndTime=now", check=False)
    doomed = {path: path.read_text().strip() for path in told.glob("*.node")}
    for node in set(doomed.values()) - {""}:
        cluster.kill_node(node)
        for path, where in doomed.items():
            if where == node:
                path.unlink()
        cluster.revive_node(node)


def kills(place: Place, jobs: int, chance: random.Random, count: int = 50) -> dict[str, int]:
    """Kill what submits so often; return what the queue has then, and after `cancel --all`."""
    place.cluster.sh("scontrol", "update", "PartitionName=main", "State=DOWN")
    _dag(place, [""] * jobs, place.folder)
    for _ in range(count):
        run = place.start("run")
        time.sleep(chance.uniform(0.5, 4))
        victims = _processes(place.folder)
        for pid in chance.sample(victims, chance.choice((1, len(victims)))) if victims else ():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, chance.choice((signal.SIGKILL, signal.SIGTERM, signal.SIGINT)))
        run.communicate(timeout=300)
    place.repx("run")
    argv = ("squeue", "--noheader", "--array", "--states=PENDING", "--format=%k %K")
    queued = place.cluster.sh(*argv).stdout.splitlines()
    elements = [line for line in queued if ".again" not in line]
    place.cluster.sh("scontrol", "update", "PartitionName=main", "State=UP")
    time.sleep(3)
    place.repx("cancel", "--all")
    place.cluster.drain()
    return {
        "jobs": jobs,
        "kills": count,
        "queued": len(elements),
        "left": len(place.cluster.queue()),
    }


def _processes(folder: Path) -> list[int]:
    """Return what works on the project: client, submit.sh and what that started."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                words = (entry / "cmdline").read_bytes()
                if str(folder).encode() in words or b"--parsable" in words:
                    environment = (entry / "environ").read_bytes()
                    if f"HOME={folder}".encode() in environment:
                        found.append(int(entry.name))
    return found


@contextlib.contextmanager
def user_place() -> Iterator[Place]:
    """Give a cluster, and a folder of its ordinary user."""
    folder = Path(tempfile.mkdtemp(prefix="repx-campaign-", dir="/tmp"))
    folder.chmod(0o755)
    try:
        packages = people.install(folder)
        own = folder / "own"
        own.mkdir()
        slurm_user.give(own)
        with slurm_cluster.running() as cluster:
            yield Place(folder=own, cluster=cluster, packages=packages)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


_KINDS: Final[Mapping[str, tuple[Callable[[Place, int, random.Random], dict[str, int]], int]]] = {
    "retries": (retries, 1000),
    "kills": (kills, 600),
}


def main() -> int:
    """Return 0 when everything succeeded, nothing was there twice and nothing was left."""
    parser = argparse.ArgumentParser(prog="campaign.slurm", description=__doc__)
    parser.add_argument("kind", choices=_KINDS)
    parser.add_argument("--jobs", type=int)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    attack, usual = _KINDS[given.kind]
    started = time.monotonic()
    with user_place() as place:
        found = attack(place, given.jobs or usual, random.Random(given.seed))
    print(", ".join(f"{value} {name}" for name, value in found.items()), end="")
    print(f", {time.monotonic() - started:.0f} s")
    if given.kind == "kills":
        return int(found["queued"] != found["jobs"] or found["left"] != 0)
    within = found["submissions more"] <= 2 * found["failures"]
    return int(found["succeeded"] != found["jobs"] or not within)


if __name__ == "__main__":
    sys.exit(main())
