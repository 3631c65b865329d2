"""Input and output errors, injected by strace into one system call of a run."""

from __future__ import annotations

import random
import shutil
from typing import Final

from campaign.study import BUG, Study, Verdict, made

_CALLS: Final = (
    *("openat", "write", "read", "close", "mkdir", "rename", "unlink", "unlinkat"),
    *("flock", "fsync", "newfstatat", "getdents64", "ftruncate", "symlink", "linkat", "chmod"),
)
_ERRORS: Final = ("EIO", "ENOSPC", "EACCES", "ESTALE")


def why_not() -> str:
    """Return why the attack cannot be made on this machine; empty when it can."""
    return "" if shutil.which("strace") else "needs strace"


def run(budget: int, seed: int) -> Verdict:
    """Inject ``budget`` errors; return what was broken."""
    verdict = Verdict()
    for number in range(budget):
        chance = random.Random(f"{seed}:{number}")
        with made() as study:
            _inject(study, chance, verdict)
    return verdict


def _inject(study: Study, chance: random.Random, verdict: Verdict) -> None:
    call, error = chance.choice(_CALLS), chance.choice(_ERRORS)
    # Python's start-up reads hundreds of files: later calls are our own.
    when = chance.randint(1, 60 if call in ("mkdir", "rename", "flock", "fsync") else 1500)
    rule = f"inject=?{call}:error={error}:when={when}"
    traced = ("-f", "--seccomp-bpf", "-qq", "-o", "/dev/null", "-e", f"trace=?{call}")
    before = ("strace", *traced, "-e", rule)
    verdict.attacks += 1
    process = study.start("run", work_s=0, before=before)
    code = study.finish(process, Verdict())  # Python itself may not survive the error
    if code == BUG:
        verdict.rude += 1
        verdict.notes.append(f"{study.folder}: exit {code} after {rule}")
    study.wait_for_quiet(verdict)
    finished, told = study.succeeded(verdict), study.told("start")
    study.check_end(verdict)
    study.note_repeats(finished, told, verdict)
