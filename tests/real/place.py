"""A folder to use repx in as a person does: a Lab, a targets.yaml, the command line."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

_CHANGING = (
    (re.compile(r"\b\d{8}-\d{6}-[0-9a-f]{6}\b"), "SUBMISSION"),
    (re.compile(r"(?<=/content/)[0-9a-f]{64}x?"), "SUM"),
    (re.compile(r"\b(?=[a-z]*[0-9])[0-9a-z]{32}\b"), "HASH"),
    (re.compile(r"\b(?=[a-z]*[0-9])[0-9a-z]{12}-(?=[a-z])"), "HASH-"),
    (re.compile(r"\b\d+(\.\d+)?s\b"), "TIME"),
    (re.compile(r"^(sent .*|\d+/\d+ ok[^;\n]*|  ok .*)\n", re.MULTILINE), ""),
)


@dataclass(frozen=True)
class Place:
    """A folder with a targets.yaml; runs the command line in it, ``before`` standing before it."""

    folder: Path
    store: Path
    env: dict[str, str] = field(default_factory=dict)
    before: tuple[str, ...] = ()

    def start(self, *words: str, **env: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*self.before, sys.executable, "-m", "repx", *words],
            cwd=self.folder,
            env={**os.environ, **self.env, **env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def repx(self, *words: str, code: int = 0, env: dict[str, str] | None = None) -> str:
        """Run to the end; returns stdout and stderr together and checks the exit code."""
        process = self.start(*words, **(env or {}))
        out, err = process.communicate(timeout=120)
        assert process.returncode == code, out + err
        assert "Traceback" not in err
        return out + err

    def session(self, *lines: str, env: dict[str, str] | None = None) -> str:
        """Return what a terminal shows for command lines, with their exit codes."""
        return "".join(self._line(line, env or {}) for line in lines)

    def _line(self, line: str, env: dict[str, str]) -> str:
        done = subprocess.run(
            [*self.before, sys.executable, "-m", "repx", *shlex.split(line)],
            cwd=self.folder,
            env={**os.environ, **self.env, **env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
        assert "Traceback" not in done.stdout, done.stdout
        return self.normal(f"$ repx {line}\n{done.stdout}[{done.returncode}]\n\n")

    def normal(self, text: str) -> str:
        text = text.replace(str(self.store), "STORE").replace(str(self.folder), "HERE")
        for pattern, name in _CHANGING:
            text = pattern.sub(name, text)
        return text

    def states(self) -> dict[str, str]:
        process = self.start("status", "--json")
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        document = json.loads(out)
        return {job: told["state"] for job, told in document["jobs"].items()}

    def by_stage(self) -> dict[str, str]:
        """Return the states by the jobs' names without their hashes."""
        return {job.partition("-")[2]: state for job, state in sorted(self.states().items())}

    def output(self, pattern: str) -> list[str]:
        return sorted(path.read_text() for path in self.store.glob(f"outputs/{pattern}"))

    def marker(self, stage: str, name: str = "FAIL") -> dict[str, object]:
        """Return what the only job of a stage left as its marker."""
        (path,) = self.store.glob(f"outputs/*-{stage}-*/repx/{name}")
        content: dict[str, object] = json.loads(path.read_text())
        return content

    def left(self) -> list[str]:
        """Return what lies in the folder."""
        return sorted(path.name for path in self.folder.iterdir())

    @staticmethod
    def wait_until(what: Callable[[], object], seconds: float = 60) -> None:
        """Look twenty times a second until ``what`` is true."""
        end = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < end, "waited in vain"
            time.sleep(0.05)

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def use(self, **profile: object) -> None:
        """Write targets.yaml with one target, ``here``."""
        target = {"base_path": str(self.store), **profile}
        self.write("targets.yaml", json.dumps({"targets": {"here": target}}))


@pytest.fixture
def empty(tmp_path: Path) -> Place:
    """Return a place without a Lab."""
    return _place(tmp_path, "store")


@pytest.fixture
def recorded(tmp_path: Path, labs: Path) -> Callable[..., Place]:
    """Return a maker of places with a recorded Lab: its name, its form and the store's name."""

    def make(lab: str, *, tar: bool = False, base: str = "store") -> Place:
        here = _place(tmp_path, base)
        if tar:
            subprocess.run(["tar", "cf", here.folder / "result", "-C", labs, lab], check=True)
        else:
            shutil.copytree(labs / lab, here.folder / "result", symlinks=True)
        return here

    return make


@pytest.fixture
def defined(tmp_path: Path) -> Callable[..., Place]:
    """Return a maker of places whose Lab `repx build` makes of a lab.yaml."""

    def make(lab: str | dict[str, object], *, base: str = "store") -> Place:
        here = _place(tmp_path, base)
        here.write("lab.yaml", lab if isinstance(lab, str) else _yaml(lab))
        here.repx("build")
        return here

    return make


def _yaml(lab: dict[str, object]) -> str:
    return json.dumps(lab, ensure_ascii=False)  # YAML has no surrogate pairs


def _place(folder: Path, base: str) -> Place:
    own = ("XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME")  # nothing from earlier runs
    caches = {name: str(folder / name) for name in own}
    here = Place(folder / "here", folder / base, {**caches, "COLUMNS": "80"})
    here.folder.mkdir()
    here.use()
    return here
