"""Submission folders made of a few lines of bash, for tests of what runs them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from repx import render, runner_code, schedulers, store, transfer
from repx.model import DependencyType, Executable, Input, Job, Lab, Run, StageType
from repx.plan import Gate, Plan, Task
from repx.schedulers.contract import Folder as Asked
from repx.status import Agent
from repx.target import Resources, Retries, Target
from tests.made import made_lab, made_units

HEADER = "#!/usr/bin/env bash\nset -euo pipefail\nout=$1 inputs=$2 parameters=$3\n"
TOUCH = 'echo x >"$out/o.txt"\n'


@dataclass(frozen=True, kw_only=True)
class Work:
    """One job: bash, and what else a plan says of it. With ``steps`` it is scatter-gather."""

    body: str = TOUCH
    needs: tuple[str, ...] = ()
    run: str = "r"
    outputs: Mapping[str, object] = field(default_factory=lambda: {"o": "$out/o.txt"})
    params: Mapping[str, object] = field(default_factory=dict)
    resources: Resources = field(default_factory=Resources)
    retries: int = 0
    forced: bool = False
    gates: tuple[int, ...] = ()
    scatter: str = ""
    steps: Mapping[str, tuple[str, tuple[str, ...]]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Folder:
    """A rendered submission folder and the store it works in."""

    base: Path
    path: Path

    def home(self, job: str) -> Path:
        return self.base / "outputs" / job

    def record(self, job: str, part: str = "") -> Path:
        return self.home(job) / part / "repx"

    def marker(self, job: str, name: str = "FAIL", part: str = "") -> dict[str, Any]:
        text = (self.record(job, part) / name).read_text()
        assert text.endswith("}\n")
        return dict(json.loads(text))

    def markers(self, job: str, part: str = "") -> list[str]:
        names = ("SUCCESS", "FAIL")
        return [name for name in names if (self.record(job, part) / name).exists()]

    def succeeded(self) -> list[str]:
        return sorted(path.parts[-3] for path in self.base.glob("outputs/*/repx/SUCCESS"))

    def start(self, *argv: str, **env: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            argv,
            env={**os.environ, "REPX_GRACE_S": "1", **env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def start_script(self, job: str, *phase: str, **env: str) -> subprocess.Popen[str]:
        return self.start("bash", str(self.path / "jobs" / f"{job}.sh"), *phase, **env)

    def script(self, job: str, *phase: str, **env: str) -> tuple[int, str]:
        """Run a job script by hand; returns its exit code and what it said."""
        return ended(self.start_script(job, *phase, **env))

    def start_agent(self, *options: str, **env: str) -> subprocess.Popen[str]:
        return self.start(
            sys.executable,
            "-I",
            "-S",
            runner_code.start(str(self.base)),
            str(self.path),
            *options,
            **env,
        )

    def agent(self, *options: str, **env: str) -> tuple[int, str]:
        """Run the local scheduler; returns its exit code and what it said."""
        return ended(self.start_agent(*options, **env))

    def events(self, kind: str = "") -> list[dict[str, Any]]:
        lines = (self.path / "events.jsonl").read_text().splitlines()
        return [event for event in map(json.loads, lines) if kind in ("", event["e"])]

    def traced(self) -> list[str]:
        """Return what jobs wrote to ``$TRACE``, which ``trace`` of the fixture names."""
        path = self.base / "trace"
        return path.read_text().splitlines() if path.exists() else []


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    out, err = process.communicate(timeout=60)
    assert not out
    return process.returncode, err


def alive(pid: int) -> bool:
    """Tell whether a process runs. Zombies have ended, whoever their parent is."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def naming(path: Path) -> list[int]:
    """Return the processes that have a path in their command line."""
    pids = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return [pid for pid in pids if os.fsencode(path) in words_of(pid)]


def words_of(pid: int) -> bytes:
    """Return a process's command line."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ")
    except OSError:
        return b""


def wait_until(what: Callable[[], object], seconds: float = 30) -> None:
    """Look fifty times a second until ``what`` is true."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


MakeFolder = Callable[..., Folder]


@pytest.fixture
def folder(tmp_path: Path) -> MakeFolder:
    """Return a maker of submission folders: jobs by name, and what the target says."""

    def make(
        jobs: Mapping[str, Work],
        *,
        base: Path = tmp_path / "store",
        name: str = "s1",
        gates: tuple[tuple[str, str, tuple[str, ...]], ...] = (),
        **target: Any,  # noqa: ANN401
    ) -> Folder:
        path = base / "submissions" / name
        plan, lab = _plan(jobs, base, gates)
        profile = Target(name="here", base_path=str(base), **{"input_wait_s": 1, **target})
        files = render.submission(
            plan, lab, profile, submission_id=name, artifact=lambda part: f"{base}/artifacts/{part}"
        )
        transfer.send_runner(store.local(str(base)))
        own = schedulers.of(profile).files(plan, lab, profile, Asked(submission=name))
        for file in (*files, *own):
            place = path / file.path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(file.text)
            place.chmod(file.mode)
        return Folder(base=base, path=path)

    return make


def _plan(
    works: Mapping[str, Work], base: Path, gates: tuple[tuple[str, str, tuple[str, ...]], ...]
) -> tuple[Plan, Lab]:
    jobs = {name: _job(name, work, base) for name, work in works.items()}
    runs = {
        run: Run(
            name=run,
            metadata=f"revision/metadata-{run}.json",
            jobs=tuple(name for name, work in works.items() if work.run == run),
        )
        for run in dict.fromkeys(work.run for work in works.values())
    }
    tasks = tuple(
        Task(
            job=jobs[name],
            run=work.run,
            reason="wanted",
            units=made_units(jobs[name], work.resources),
            needs=tuple(work.needs),
            gates=work.gates,
            retries=Retries(n=work.retries),
            forced=work.forced,
        )
        for name, work in works.items()
    )
    made = tuple(Gate(run=run, type=DependencyType(kind), jobs=on) for run, kind, on in gates)
    alive = {
        need: Agent("elsewhere")
        for work in works.values()
        for need in work.needs
        if need not in works
    }
    lab = made_lab(
        runs=runs,
        jobs=jobs,
    )
    return Plan(tasks=tasks, gates=made, alive=alive), lab


def _job(name: str, work: Work, base: Path) -> Job:
    def program(
        part: str,
        body: str,
        outputs: Mapping[str, object],
        inputs: tuple[Input, ...],
        deps: tuple[str, ...] = (),
    ) -> Executable:
        path = base / "artifacts" / "jobs" / name / "bin" / part
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{HEADER}{body}")
        path.chmod(0o755)
        return Executable(path=f"jobs/{name}/bin/{part}", inputs=inputs, outputs=outputs, deps=deps)

    if not work.steps:
        executables = {"main": program("main", work.body, work.outputs, ())}
    else:
        items = {"work__items": "$out/work_items.json", "worker__arg": {"any": 0}}
        executables = {"scatter": program("scatter", work.scatter, items, ())}
        for step, (body, deps) in work.steps.items():
            inputs = (
                Input(target="worker__item", source="scatter:work_item"),
                *(Input(target=dep, source=f"step:{dep}", source_output="o") for dep in deps),
            )
            outputs = {"o": "$out/o.txt"}
            executables[f"step-{step}"] = program(f"step-{step}", body, outputs, inputs, deps)
        manifest = Input(target="worker__outs", source="runner:worker_outputs", source_key="o")
        executables["gather"] = program("gather", work.body, work.outputs, (manifest,))
    return Job(
        id=name,
        name=name,
        stage_type=StageType.SCATTER_GATHER if work.steps else StageType.SIMPLE,
        params=work.params,
        executables=executables,
    )
