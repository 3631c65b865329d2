"""The experiment under attack: its jobs notice when they run twice, its project is thrown away."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

# Says when it starts and ends, leaves a half-written output meanwhile, and notices when it runs
# twice at once: the lock of its own is gone when it dies. (1: somebody has the lock; flock may
# also have been killed.)
WORK: Final = """
exec 8>"$TRACE.$who"
flock -n 8 || [[ $? != 1 ]] || echo "twice $who" >>"$TRACE"
echo "start $who" >>"$TRACE"
printf half >"$file"
sleep "${WORK_S:-0.1}"
printf ' and whole\\n' >>"$file"
echo "end $who" >>"$TRACE"
"""
WHOLE: Final = "half and whole\n"
JOBS: Final = 11  # markers of SUCCESS below outputs/<job>/repx when all is done
STUCK_S: Final = 120
BUG: Final = 70  # the exit code of repx for a mistake of its own
# Which processes are at work, by their command lines.
KINDS: Final[Mapping[str, Callable[[str], bool]]] = {
    "everything": lambda _: True,
    "agent": lambda line: "/runner/start.py" in line and "--worker" not in line,
    "client": lambda line: "-m repx" in line,
    "wrappers": lambda line: "/submissions/" in line and ("/jobs/" in line or "--worker" in line),
    "programs": lambda line: "/content/" in line and "/submissions/" not in line,
}


def _work(name: str, output: str) -> str:
    return f'who={name}\nfile="${{outputs[{output}]}}"\n{WORK}'


LAB: Final[Mapping[str, object]] = {
    "name": "attacked",
    "stages": {
        "first": {
            "parameters": {"n": 0},
            "outputs": {"x": "$out/x.txt"},
            "run": _work("first${parameters[n]}", "x"),
        },
        "second": {
            "inputs": ["x"],
            "parameters": {"n": 0},
            "outputs": {"y": "$out/y.txt"},
            "run": '[[ $(<"${inputs[x]}") == "half and whole" ]]\n'
            + _work("second${parameters[n]}", "y"),
        },
        "spread": {
            "scatter": {"run": "echo '[0, 1, 2]' >work_items.json"},
            "steps": {
                "one": {
                    "inputs": ["worker__item"],
                    "outputs": {"z": "$out/z.txt"},
                    "run": _work('one$(<"${inputs[worker__item]}")', "z"),
                },
            },
            "gather": {"outputs": {"all": "$out/all.txt"}, "run": _work("gather", "all")},
        },
    },
    "pipelines": {"main": ["first", "second", "spread"]},
    "runs": {"sweep": {"parameters": {"n": [1, 2, 3, 4, 5]}}},
}


@dataclass
class Verdict:
    """What an attack did. Mutable: counted while it goes on.

    ``repeats`` are finished jobs run again, ``doubles`` jobs that ran twice at once, ``false``
    successes without whole outputs, ``lost`` jobs not done after the last run, ``stuck``
    commands that did not end, ``rude`` commands that ended with a traceback or a bug's code.
    """

    attacks: int = 0
    repeats: int = 0
    doubles: int = 0
    false: int = 0
    lost: int = 0
    stuck: int = 0
    rude: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def failures(self) -> int:
        """Return how many promises were broken."""
        return self.repeats + self.doubles + self.false + self.lost + self.stuck + self.rude

    def add(self, other: Verdict) -> None:
        """Count another one's figures too."""
        for name in ("attacks", "repeats", "doubles", "false", "lost", "stuck", "rude"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.notes += other.notes


@dataclass(frozen=True)
class Study:
    """A built project in ``folder``; all its processes carry ``tag`` in their environment."""

    folder: Path
    store: Path
    tag: str

    @property
    def trace(self) -> Path:
        """Return the file that the jobs write to, outside the store."""
        return self.folder / "trace"

    def env(self, work_s: float) -> dict[str, str]:
        """Return the environment of the attacked commands: a user's, and what the jobs read."""
        return {
            "HOME": str(self.folder / "home"),
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",  # what a study brings is first
            "REPX_CAMPAIGN": self.tag,
            "REPX_GRACE_S": "1",
            "TRACE": str(self.trace),
            "WORK_S": str(work_s),
        }

    def start(
        self, *words: str, work_s: float = 0.1, before: tuple[str, ...] = ()
    ) -> subprocess.Popen[str]:
        """Start a command of repx."""
        return subprocess.Popen(
            [*before, sys.executable, "-m", "repx", *words],
            cwd=self.folder,
            env=self.env(work_s),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )

    def finish(self, process: subprocess.Popen[str], verdict: Verdict) -> int:
        """Return a command's exit code; one that does not end, or ends rudely, is counted."""
        return self.hear(process, verdict)[0]

    def hear(self, process: subprocess.Popen[str], verdict: Verdict) -> tuple[int, str]:
        """Return a command's exit code and what it said."""
        try:
            said, _ = process.communicate(timeout=STUCK_S)
        except subprocess.TimeoutExpired:
            verdict.stuck += 1
            verdict.notes.append(f"{self.folder}: stuck: {process.args!r}")
            self.kill_all()
            return -1, process.communicate()[0]
        if "Traceback" in said or process.returncode == BUG:
            verdict.rude += 1
            verdict.notes.append(f"{self.folder}: {said[-400:]}")
        return process.returncode, said

    def processes(self, kind: str = "everything") -> list[int]:
        """Return the ids of the processes of a kind that belong to the study."""
        return [pid for pid, line in self._lines() if KINDS[kind](line)]

    def _lines(self) -> Iterator[tuple[int, str]]:
        tag = f"REPX_CAMPAIGN={self.tag}".encode()
        for folder in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if folder.name.isdigit() and tag in (folder / "environ").read_bytes():
                    line = (folder / "cmdline").read_bytes().replace(b"\0", b" ")
                    yield int(folder.name), line.decode(errors="replace")

    def kill_all(self) -> None:
        """Kill everything at once, as a power cut does."""
        while self.processes():
            self.signal(signal.SIGSTOP)
            self.signal(signal.SIGKILL)
            time.sleep(0.01)

    def signal(self, number: int) -> None:
        """Send a signal to every process of the study."""
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def wait_for_quiet(self, verdict: Verdict) -> None:
        """Wait until nothing of the study runs any more."""
        end = time.monotonic() + STUCK_S
        while self.processes():
            if time.monotonic() > end:
                verdict.stuck += 1
                verdict.notes.append(f"{self.folder}: processes {self.processes()} do not end")
                self.kill_all()
                return
            time.sleep(0.05)

    def told(self, word: str) -> Counter[str]:
        """Return how often each job wrote a word to the trace."""
        lines = self.trace.read_text().splitlines() if self.trace.exists() else []
        words = [line.split() for line in lines]
        return Counter(each[1] for each in words if len(each) == 2 and each[0] == word)  # noqa: PLR2004

    def succeeded(self, verdict: Verdict, store: Path | None = None) -> set[str]:
        """Return who has succeeded; a success that is not deserved is counted as false."""
        found = set()
        for marker in (store or self.store).glob("outputs/**/repx/SUCCESS"):
            folder = marker.parent.parent
            wanted = ["work_items.json"] if folder.name == "scatter" else ["*.txt"]
            outputs = [path for pattern in wanted for path in folder.glob(f"out/{pattern}")]
            whole = "[0, 1, 2]\n" if folder.name == "scatter" else WHOLE
            texts = [_text(path) for path in outputs]
            if texts != [whole] or (marker.parent / "FAIL").exists():
                verdict.false += 1
                beside = sorted(path.name for path in marker.parent.iterdir())
                verdict.notes.append(f"false success: {marker}: {texts} {beside} {_text(marker)}")
            if folder.name != "scatter":
                found.add(self._who(folder))
        return found

    def note_repeats(self, finished: set[str], before: Counter[str], verdict: Verdict) -> None:
        """Note which finished jobs have started since ``before`` was counted."""
        again = finished & (self.told("start") - before).keys()
        verdict.repeats += len(again)
        if again:
            verdict.notes.append(f"{self.folder}: run again: {sorted(again)}")

    def check_end(self, verdict: Verdict) -> None:
        """Run what is left, undisturbed, and count what is still not done and what ran twice."""
        said = ""
        for _ in range(2):  # a job that was waited for may have failed meanwhile
            _, said = self.hear(self.start("run", work_s=0), verdict)
        done = self.succeeded(verdict)
        if len(done) != JOBS + 3:
            verdict.lost += JOBS + 3 - len(done)
            verdict.notes.append(f"{self.folder}: only {sorted(done)} are done: {said[-600:]}")
        twice = self.told("twice")
        verdict.doubles += twice.total()
        if twice:
            verdict.notes.append(f"{self.folder}: at once: {sorted(twice)}: {_text(self.trace)}")

    def _who(self, folder: Path) -> str:
        if folder.parent.name.startswith("branch-"):
            return f"one{folder.parent.name.removeprefix('branch-')}"
        stage = folder.name.split("-")[1]
        if stage == "spread":
            return "gather"
        (metadata,) = self.folder.glob("result/revision/*metadata-sweep.json")
        return f"{stage}{json.loads(metadata.read_text())['jobs'][folder.name]['params']['n']}"


def _text(path: Path) -> str:
    return path.read_text(errors="replace")


@contextlib.contextmanager
def made(store: Path | None = None, **profile: object) -> Iterator[Study]:
    """Make a project in a folder of its own, build it, and remove it all in the end."""
    folder = Path(tempfile.mkdtemp(prefix="repx-campaign-"))
    study = Study(folder, store or folder / "store", uuid.uuid4().hex)
    (folder / "home").mkdir()
    target = {"base_path": str(study.store), "input_wait_s": 1, **profile}
    (folder / "targets.yaml").write_text(json.dumps({"targets": {"here": target}}))
    (folder / "lab.yaml").write_text(json.dumps(LAB))
    try:
        built = study.start("build")
        said, _ = built.communicate()
        if built.returncode:
            raise RuntimeError(said)
        yield study
    finally:
        study.kill_all()
        shutil.rmtree(folder, ignore_errors=True)
