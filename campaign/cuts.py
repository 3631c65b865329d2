"""Power cuts: the disk forgets what was not flushed, everything dies, and the rest is run on."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from campaign.study import Study, Verdict, made

_SIZE: Final = 24 << 20
_CUTS_PER_STUDY: Final = 7


def why_not() -> str:
    """Return why the attack cannot be made on this machine; empty when it can."""
    if os.geteuid() != 0:
        return "needs root, to mount file systems"
    if not Path("/dev/fuse").exists() or not Path("/dev/loop-control").exists():
        return "needs FUSE and loop devices"
    return "" if shutil.which("mkfs.ext4") else "needs mkfs.ext4"


def run(budget: int, seed: int) -> Verdict:
    """Cut the power ``budget`` times; return what was broken."""
    verdict = Verdict()
    number = 0
    while verdict.attacks < budget:
        number += 1
        chance = random.Random(f"{seed}:{number}")
        folder = Path(tempfile.mkdtemp(prefix="repx-campaign-cut-"))
        machine = _Machine.started(folder)
        try:
            with made(machine.store) as study:
                cuts = min(_CUTS_PER_STUDY, budget - verdict.attacks)
                _series(study, machine, chance, verdict, cuts)
        finally:
            machine.scrap()
            shutil.rmtree(folder)
    return verdict


def _series(
    study: Study, machine: _Machine, chance: random.Random, verdict: Verdict, cuts: int
) -> None:
    finished: set[str] = set()
    for _ in range(cuts):
        before = study.told("start")
        client = study.start("run", "-j", "4")
        time.sleep(chance.uniform(0.4, 2.5))
        verdict.attacks += 1
        machine.cut(chance.randrange(1 << 30))
        study.kill_all()
        client.communicate()
        machine.boot()
        study.note_repeats(finished, before, verdict)
        finished = study.succeeded(verdict)
    study.check_end(verdict)


@dataclass
class _Machine:
    """A store on ext4, mounted as usual, on a disk that forgets. Mutable: it goes off and on."""

    disk: Path
    store: Path
    server: subprocess.Popen[bytes]
    loop: str = ""

    @classmethod
    def started(cls, folder: Path) -> _Machine:
        """Return a new one, with an empty store."""
        disk, store = folder / "disk", folder / "store"
        store.mkdir()
        program = Path(__file__).with_name("forgetful.py")
        server = subprocess.Popen(
            [sys.executable, program, disk, str(_SIZE)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        machine = cls(disk, store, server)
        machine._hear()
        _do("mkfs.ext4", "-q", "-F", disk)
        machine._mount()
        return machine

    def cut(self, seed: int) -> None:
        """Cut the power: from now on the disk is as it will be found."""
        self._tell(f"cut {seed}")

    def boot(self) -> None:
        """Put the power on again; the file system's journal is replayed."""
        self._unmount()
        self._tell("on")
        self._mount()

    def scrap(self) -> None:
        """Let nothing of it be left."""
        self._unmount()
        _do("umount", "--lazy", self.disk)  # its loop device goes a moment later
        self.server.communicate()

    def _mount(self) -> None:
        self.loop = _do("losetup", "--find", "--show", self.disk)
        _do("mount", self.loop, self.store)

    def _unmount(self) -> None:
        _do("umount", self.store)
        _do("losetup", "-d", self.loop)

    def _tell(self, words: str) -> None:
        if self.server.stdin is not None:
            self.server.stdin.write(f"{words}\n".encode())
            self.server.stdin.flush()
        self._hear()

    def _hear(self) -> None:
        if self.server.stdout is None or not self.server.stdout.readline():
            raise RuntimeError("the disk that forgets has ended")


def _do(*words: object) -> str:
    done = subprocess.run(list(map(str, words)), check=True, capture_output=True, text=True)
    return done.stdout.strip()
