"""Copies of a store while jobs run in it: each must be a store that can be continued."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import time

from campaign.study import Study, Verdict, made


def run(budget: int, seed: int) -> Verdict:
    """Copy ``budget`` times; return what was broken."""
    verdict = Verdict()
    number = 0
    while verdict.attacks < budget:
        number += 1
        chance = random.Random(f"{seed}:{number}")
        with made() as study:
            client = study.start("run", work_s=0.2)
            while client.poll() is None and not study.store.exists():
                time.sleep(0.01)
            while client.poll() is None and verdict.attacks < budget:
                time.sleep(chance.uniform(0.05, 0.5))
                verdict.attacks += 1
                _continue_copy(study, verdict)
            study.finish(client, verdict)
            study.check_end(verdict)
    return verdict


def _continue_copy(study: Study, verdict: Verdict) -> None:
    copy = study.folder / "copy"
    study.signal(signal.SIGSTOP)  # as a snapshot of the file system: one instant
    try:
        subprocess.run(["cp", "-a", study.store, copy], check=True)
    finally:
        study.signal(signal.SIGCONT)
    study.succeeded(verdict, copy)
    shutil.rmtree(copy)
