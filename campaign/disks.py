"""Full disks: a run in a store that has room for a part of it only, then with room for all."""

from __future__ import annotations

import os
import random
import subprocess
import tempfile
from pathlib import Path

from campaign.study import Study, Verdict, made


def why_not() -> str:
    """Return why the attack cannot be made on this machine; empty when it can."""
    return "" if os.geteuid() == 0 else "needs root, to mount small file systems"


def run(budget: int, seed: int) -> Verdict:
    """Fill ``budget`` disks; return what was broken."""
    verdict = Verdict()
    for number in range(budget):
        chance = random.Random(f"{seed}:{number}")
        limit = (
            f"nr_inodes={chance.randint(10, 400)}"
            if chance.random() < 0.3  # noqa: PLR2004
            else f"size={chance.randint(8, 700)}k"
        )
        store = Path(tempfile.mkdtemp(prefix="repx-campaign-disk-"))
        subprocess.run(["mount", "-t", "tmpfs", "-o", limit, "tmpfs", str(store)], check=True)
        try:
            with made(store) as study:
                _fill(study, verdict, store)
        finally:
            subprocess.run(["umount", "-l", str(store)], check=True)
            store.rmdir()
    return verdict


def _fill(study: Study, verdict: Verdict, store: Path) -> None:
    verdict.attacks += 1
    study.finish(study.start("run", work_s=0), verdict)
    study.wait_for_quiet(verdict)
    finished, before = study.succeeded(verdict), study.told("start")
    more = "remount,size=64m,nr_inodes=100000"
    subprocess.run(["mount", "-o", more, str(store)], check=True)
    study.check_end(verdict)
    study.note_repeats(finished, before, verdict)
