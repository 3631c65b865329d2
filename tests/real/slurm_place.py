"""A folder to use repx with Slurm in: a Lab made for one test, a target, the command line."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.real import people, slurm_user

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tests.real.slurm_cluster import Cluster

# `input NAME` prints the path of an input.
HEAD = r"""#!/bin/bash
set -eu
cd "$1"
inputs=$2
input() { sed -n "s/^ *\"$1\": \"\(.*\)\",\{0,1\}$/\1/p" "$inputs"; }
"""


@dataclass
class LabMaker:
    """Writes a Lab of small bash jobs (docs/lab-format.md). Mutable: jobs are added one by one."""

    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    scripts: dict[str, str] = field(default_factory=dict)
    runs: dict[str, dict[str, Any]] = field(default_factory=dict)

    def job(
        self,
        name: str,
        script: str = "echo done >o",
        *,
        needs: Sequence[str] = (),
        params: Mapping[str, object] | None = None,
        hints: Mapping[str, object] | None = None,
    ) -> str:
        """Add a job with one output, ``o``; its script starts in the output folder."""
        job = self._id(name)
        self.jobs[job] = {
            "name": f"{name}-1.0",
            "params": dict(params or {}),
            "resource_hints": dict(hints or {}),
            "executables": {"main": self._executable(job, name, script, _reads(needs))},
        }
        return job

    def scattered(
        self,
        name: str,
        *,
        items: str = "echo '[1, 2, 3]' >work_items.json",
        steps: Mapping[str, tuple[str, Sequence[str], Mapping[str, object]]],
        gather: str = 'grep -c \'"o"\' "$(input worker__outs)" >o || true',
        needs: Sequence[str] = (),
    ) -> str:
        """Add a scatter-gather job; ``steps`` have a script, what they need, and hints."""
        job = self._id(name)
        executables = {
            "scatter": {
                **self._executable(job, f"{name}-scatter", items, _reads(needs)),
                "outputs": {"work__items": "$out/work_items.json", "worker__arg": {}},
            }
        }
        for step, (script, deps, hints) in steps.items():
            reads: list[dict[str, object]] = [
                {"target_input": f"in-{dep}", "source": f"step:{dep}", "source_output": "o"}
                for dep in deps
            ] or [{"target_input": "worker__item", "source": "scatter:work_item"}]
            executables[f"step-{step}"] = {
                **self._executable(job, f"{name}-step-{step}", script, reads),
                "deps": list(deps),
                "resource_hints": dict(hints),
            }
        outs: dict[str, object] = {
            "target_input": "worker__outs",
            "source": "runner:worker_outputs",
            "source_key": "o",
        }
        executables["gather"] = self._executable(job, f"{name}-gather", gather, [outs])
        self.jobs[job] = {
            "name": f"{name}-1.0",
            "params": {},
            "stage_type": "scatter-gather",
            "executables": executables,
        }
        return job

    def run(self, name: str, jobs: Sequence[str], **dependencies: str) -> None:
        """Add a run; ``dependencies`` are runs and ``hard`` or ``soft``."""
        for job in jobs if dependencies else ():
            for upstream, kind in dependencies.items():
                self._entry(job)["inputs"].append(
                    {
                        "type": "inter-run",
                        "target_input": f"metadata__{upstream}",
                        "source_run": upstream,
                        "dependency_type": kind,
                    }
                )
        paths = {f"revision/metadata-{run}.json": kind for run, kind in dependencies.items()}
        self.runs[name] = {"jobs": list(jobs), "dependencies": paths}

    def write(self, root: Path) -> None:
        """Write the Lab; without a run of its own, every job is in the run ``all``."""
        if not self.runs:
            self.run("all", list(self.jobs))
        _put(root / "host-tools/tools/bin/true", "#!/bin/sh\n", 0o755)
        for path, script in self.scripts.items():
            _put(root / path, script, 0o755)
        for name, run in self.runs.items():
            content = {
                "type": "run",
                "name": name,
                "dependencies": run["dependencies"],
                "jobs": {job: self.jobs[job] for job in run["jobs"]},
            }
            _put(root / f"revision/metadata-{name}.json", json.dumps(content))
        runs = [f"revision/metadata-{name}.json" for name in self.runs]
        top = {"repx_version": "0.5.0", "type": "root", "gitHash": "none", "runs": runs}
        _put(root / "revision/metadata-top.json", json.dumps(top))
        files = [
            {
                "path": str(path.relative_to(root)),
                "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            }
            for path in sorted(root.rglob("*"))
            if path.is_file()
        ]
        manifest = {
            "labId": hashlib.sha256(json.dumps(files).encode()).hexdigest()[:32],
            "lab_version": "1.0",
            "metadata": "revision/metadata-top.json",
            "files": files,
        }
        _put(root / "lab/lab-metadata.json", json.dumps(manifest))

    def _id(self, name: str) -> str:
        digest = hashlib.sha256(f"{name} {len(self.jobs)}".encode()).hexdigest()[:32]
        return f"{digest}-{name}-1.0"

    def _entry(self, job: str) -> dict[str, Any]:
        executables = self.jobs[job]["executables"]
        found: dict[str, Any] = executables.get("main") or executables["scatter"]
        return found

    def _executable(
        self, job: str, name: str, script: str, inputs: list[dict[str, object]]
    ) -> dict[str, Any]:
        path = f"jobs/{job}/bin/{name}"
        self.scripts[path] = f"{HEAD}{script}\n"
        return {"path": path, "inputs": list(inputs), "outputs": {"o": "$out/o"}}


def _reads(needs: Sequence[str]) -> list[dict[str, object]]:
    return [
        {
            "type": "intra-pipeline",
            "job_id": need,
            "source_output": "o",
            "target_input": f"in{number}",
        }
        for number, need in enumerate(needs)
    ]


def _put(path: Path, text: str, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


@dataclass
class Place:
    """A folder with a Lab and targets. Mutable: the Lab is written when it is first used.

    Where ``packages`` is given, everything runs as the cluster's ordinary user, with repx from
    that folder: that user may be unable to read this one.
    """

    folder: Path
    cluster: Cluster
    packages: Path | None = None
    lab: LabMaker = field(default_factory=LabMaker)
    lab_path: Path | None = None
    targets: dict[str, Any] = field(default_factory=dict)

    @property
    def store(self) -> Path:
        """Return the store of every target of this place."""
        return self.folder / "a store"

    def target(self, name: str = "cluster", **settings: object) -> None:
        """Describe a target; ``settings`` are those of targets.yaml."""
        self.targets[name] = {
            "base_path": str(self.store),
            "scheduler": "slurm",
            "input_wait_s": 2,
            **settings,
        }
        content = json.dumps({"targets": self.targets})
        (self.folder / "targets.yaml").write_text(content)

    def write_lab(self) -> Path:
        """Write the Lab for the user of this place."""
        self.lab_path = self.folder / "result"
        self.lab.write(self.lab_path)
        if self.packages:
            slurm_user.give(self.lab_path)
        return self.lab_path

    def start(self, *words: str, target: str = "cluster", **env: str) -> subprocess.Popen[str]:
        """Start the command line in this folder."""
        if self.lab_path is None:
            self.write_lab()
        if not self.targets:
            self.target()
        where = ("--lab", str(self.lab_path), "--target", target)
        python = str(people.PYTHON) if self.packages else sys.executable
        return self.begin((python, "-m", "repx", *words, *where), env=env)

    def begin(
        self, words: Sequence[str], cwd: Path | None = None, env: Mapping[str, str] | None = None
    ) -> subprocess.Popen[str]:
        """Start a command as the user of this place."""
        own = {"XDG_CACHE_HOME": str(self.folder / "cache"), "XDG_CONFIG_HOME": "/nowhere"}
        if self.packages:
            words = slurm_user.words(tuple(words))
            own |= {"HOME": str(self.folder), "USER": slurm_user.NAME, "LOGNAME": slurm_user.NAME}
            own |= {"PYTHONPATH": str(self.packages), "PYTHONDONTWRITEBYTECODE": "1"}
        return subprocess.Popen(
            words,
            cwd=cwd or self.folder,
            env={**self.cluster.env, **own, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def repx(self, *words: str, code: int = 0, target: str = "cluster", **env: str) -> str:
        """Run the command line to its end; return stdout and stderr together."""
        process = self.start(*words, target=target, **env)
        out, err = process.communicate(timeout=120)
        assert code == process.returncode, out + err
        assert "Traceback" not in err
        return out + err

    def run(self, *words: str) -> str:
        """Submit, and wait until Slurm has nothing left to do."""
        said = self.repx("run", *words)
        self.cluster.drain()
        return said

    def status(self, **env: str) -> dict[str, dict[str, str]]:
        """Return what status tells of each job."""
        process = self.start("status", "--json", **env)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        told: dict[str, dict[str, str]] = json.loads(out)["jobs"]
        return told

    def states(self) -> dict[str, str]:
        """Return the state of each job."""
        return {job: told["state"] for job, told in self.status().items()}

    def marker(self, job: str, name: str = "FAIL") -> dict[str, Any]:
        """Return a job's marker."""
        content: dict[str, Any] = json.loads((self.repx_dir(job) / name).read_text())
        return content

    def repx_dir(self, job: str) -> Path:
        """Return the folder of a job's markers and logs."""
        return self.store / "outputs" / job / "repx"

    def out(self, job: str) -> str:
        """Return a job's output ``o``."""
        return (self.store / "outputs" / job / "out/o").read_text().strip()

    def submissions(self) -> list[Path]:
        """Return the submission folders, oldest first."""
        return sorted((self.store / "submissions").iterdir())

    def submitted(self) -> list[list[str]]:
        """Return the lines of the newest submission's submitted.tsv."""
        text = (self.submissions()[-1] / "submitted.tsv").read_text()
        return [line.split("\t") for line in text.splitlines()]

    def ids(self) -> dict[str, str]:
        """Return the newest submission's Slurm ids by call, without the number in front."""
        return {name.partition("-")[2]: id_ for name, id_, *_ in self.submitted()}

    def started(self, job: str) -> bool:
        """Return whether a job's program has begun."""
        return (self.repx_dir(job) / "stdout.log").exists()


@pytest.fixture
def place(slurm: Cluster, everybodys_packages: Path) -> Iterator[Place]:
    """Give a fresh folder of an ordinary user for one test, and an empty queue."""
    slurm.configure()
    slurm.empty()
    folder = Path(tempfile.mkdtemp(prefix="repx-slurm-place-", dir="/tmp"))
    folder.chmod(0o755)
    slurm_user.give(folder)
    yield Place(folder=folder, cluster=slurm, packages=everybodys_packages)
    shutil.rmtree(folder, ignore_errors=True)
