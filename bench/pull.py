"""What bringing many small results costs: `repx pull` beside one `ssh tar` written by hand.

Both go to a private sshd on this machine, through a link that takes 25 ms each way.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Final

from bench import measure, ours
from bench.ours import REPX, STORE
from bench.peers import Workload
from tests.real import sshd

ROUNDS: Final = 3
DELAY_MS: Final = 25
LIMIT: Final = 3
OUTPUT: Final = "0.123456\n" * 20
RELAY: Final = Path(__file__).parents[1] / "tests" / "real" / "relay.py"
BY_HAND: Final = 'mkdir "$0" && ssh -n -F "$1" far tar -cf - -C "$2" outputs | tar -xf - -C "$0"'


def write(folder: Path, jobs: int, config: Path) -> None:
    """Build a Lab, and leave in a store behind ssh what a finished run leaves."""
    folder.mkdir()
    ours.write(folder, Workload.of_jobs("SWEEP", jobs))
    ours.succeed_all(folder)
    for job in (folder / STORE / "outputs").iterdir():
        (job / "out").mkdir()
        (job / "out" / "n").write_text(OUTPUT)
        for name in ("stdout.log", "stderr.log", "inputs.json", "parameters.json"):
            (job / "repx" / name).write_text("{}\n" if name.endswith("json") else "")
    far = {"address": "far", "ssh_config": str(config), "base_path": str(folder / STORE)}
    (folder / "targets.yaml").write_text(json.dumps({"targets": {"far": far}}))


def figure(root: Path, jobs: int, rounds: int) -> tuple[float, float]:
    """Return the seconds that both take, in turn, each time to a new folder."""
    (root / "ssh").mkdir()
    server = sshd.start(root / "ssh")
    words = (sys.executable, RELAY, "127.0.0.1", server.port, DELAY_MS, root)
    config = server.configure(f"ProxyCommand {' '.join(map(str, words))}")
    lab = root / "lab"
    write(lab, jobs, config)
    times: dict[str, list[float]] = {"repx": [], "hand": []}
    try:
        for number in range(rounds):
            to = str(root / f"hand-{number}")
            hand = ["bash", "-c", BY_HAND, to, str(config), str(lab / STORE)]
            pull = [REPX, "pull", "-o", str(root / f"repx-{number}")]
            for name, argv in (("hand", hand), ("repx", pull)):
                times[name].append(measure.run(argv, cwd=lab, env=os.environ).wall_s)
    finally:
        server.stop()
    return statistics.median(times["repx"]), statistics.median(times["hand"])


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one round of 301 jobs")
    options = parser.parse_args()
    ours.compile_modules()
    jobs, rounds = (301, 1) if options.quick else (3001, ROUNDS)
    with tempfile.TemporaryDirectory(prefix="repx-bench-") as root:
        mine, hand = figure(Path(root), jobs, rounds)
    verdict = "✓" if mine <= LIMIT * hand else "✗"
    print("| Figure | Unit | repx | ssh tar | times | target |\n|---|---|---|---|---|---|")
    name = f"pull of {jobs:,} jobs, 50 ms round trip"
    print(f"| {name} | s | {mine:.3g} | {hand:.3g} | {mine / hand:.2g} {verdict} | {LIMIT} |")


if __name__ == "__main__":
    main()
