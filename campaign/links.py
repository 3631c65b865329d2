"""`kill -9` of a run on another machine: of the client, its connection, or what runs there."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from campaign.study import Study, Verdict, made
from tests.real import sshd

if TYPE_CHECKING:
    from tests.real.sshd import Sshd

_KILLS_PER_STUDY: Final = 5
_KINDS: Final = ("client", "connection", "connection", "runner", "both")
# How each kind of process is called: ssh here and sshd there, or the local scheduler there.
_WORDS: Final = {"runner": b"/start.py", "connection": b"ServerAliveInterval"}


def why_not() -> str:
    """Return why the attack cannot be made on this machine; empty when it can."""
    return "" if sshd.SSHD else "needs sshd"


def run(budget: int, seed: int) -> Verdict:
    """Kill ``budget`` times; return what was broken."""
    verdict = Verdict()
    number = 0
    with _server() as far:
        while verdict.attacks < budget:
            number += 1
            chance = random.Random(f"{seed}:{number}")
            with made(address="far", ssh_config=str(far.config)) as study:
                _let_jobs_see(study)
                _series(study, chance, verdict, min(_KILLS_PER_STUDY, budget - verdict.attacks))
    return verdict


@contextlib.contextmanager
def _server() -> Iterator[Sshd]:
    with tempfile.TemporaryDirectory(prefix="repx-campaign-sshd-") as folder:
        far = sshd.start(Path(folder))
        try:
            yield far
        finally:
            far.stop()


def _let_jobs_see(study: Study) -> None:
    """Give the jobs there what they would inherit from a client here."""
    file = study.folder / "targets.yaml"
    profiles = json.loads(file.read_text())
    wanted = ("REPX_CAMPAIGN", "REPX_GRACE_S", "TRACE", "WORK_S")
    own = {name: value for name, value in study.env(0.1).items() if name in wanted}
    profiles["targets"]["here"]["environment"] = own
    file.write_text(json.dumps(profiles))


def _series(study: Study, chance: random.Random, verdict: Verdict, kills: int) -> None:
    finished: set[str] = set()
    for _ in range(kills):
        before = study.told("start")
        client = study.start("run", "-j", "4")
        time.sleep(chance.uniform(0.3, 3.0))
        verdict.attacks += 1
        for victim in _victims(study, client.pid, chance.choice(_KINDS)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
        study.finish(client, verdict)
        _wait_for_quiet(study, verdict)
        study.note_repeats(finished, before, verdict)
        finished = study.succeeded(verdict)
    study.check_end(verdict)


def _victims(study: Study, client: int, kind: str) -> list[int]:
    kinds = ("client", "runner") if kind == "both" else (kind,)
    found = [client] if "client" in kinds else []
    return found + [pid for each in kinds if each in _WORDS for pid in _processes(study, each)]


def _processes(study: Study, kind: str) -> list[int]:
    """Return processes of this study: its store, or its client, stands in their command."""
    mine = (os.fsencode(study.store), os.fsencode(study.tag))
    found = []
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if not folder.name.isdigit():
                continue
            line, environ = ((folder / name).read_bytes() for name in ("cmdline", "environ"))
            if _WORDS[kind] in line and any(each in line + environ for each in mine):
                found.append(int(folder.name))
    return found


def _wait_for_quiet(study: Study, verdict: Verdict) -> None:
    """Wait until nothing of the study runs any more, here or there."""
    end = time.monotonic() + 120
    while study.processes() or _processes(study, "runner"):
        if time.monotonic() > end:
            verdict.stuck += 1
            verdict.notes.append(f"{study.folder}: the local scheduler there does not end")
            return
        time.sleep(0.05)
