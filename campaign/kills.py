"""`kill -9` at random moments: everything, the client, or any of the processes at work."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from typing import Final

from campaign.study import Study, Verdict, made

_KILLS_PER_STUDY: Final = 7
_KINDS: Final = ("everything", "client", "one", "one", "half")


def run(budget: int, seed: int) -> Verdict:
    """Kill ``budget`` times; return what was broken."""
    verdict = Verdict()
    number = 0
    while verdict.attacks < budget:
        number += 1
        chance = random.Random(f"{seed}:{number}")
        with made() as study:
            _series(study, chance, verdict, min(_KILLS_PER_STUDY, budget - verdict.attacks))
    return verdict


def _series(study: Study, chance: random.Random, verdict: Verdict, kills: int) -> None:
    finished: set[str] = set()
    for _ in range(kills):
        before = study.told("start")
        client = study.start("run", "-j", "4")
        time.sleep(chance.uniform(0.05, 1.8))
        verdict.attacks += 1
        _kill(study, client.pid, chance.choice(_KINDS), chance)
        study.finish(client, verdict)
        study.wait_for_quiet(verdict)
        study.note_repeats(finished, before, verdict)
        finished = study.succeeded(verdict)
    study.check_end(verdict)


def _kill(study: Study, client: int, kind: str, chance: random.Random) -> None:
    if kind == "everything":
        study.kill_all()
        return
    others = [pid for pid in study.processes() if pid != client]
    if kind == "client" or not others:
        victims = [client]
    else:
        victims = chance.sample(others, max(1, len(others) // 2) if kind == "half" else 1)
    for pid in victims:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
