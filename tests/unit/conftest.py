"""What tests of the command line share: a call of it within this process."""

from __future__ import annotations

import errno
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import pytest

from repx import console
from repx.cli import main


class Said(NamedTuple):
    """What a command did: its exit code, and what it wrote."""

    code: int
    out: str
    err: str


Repx: TypeAlias = Callable[..., Said]


@pytest.fixture(scope="session")
def ran(labs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a targets.yaml and a store in which the recorded Labs were run.

    One branch of the scatter-gather Lab failed, and so its gather and the report never ran.
    """
    folder = tmp_path_factory.mktemp("ran")
    targets = f"""\
targets:
  local: {{base_path: {folder}/store, environment: {{GREETING: "hello $HOME"}}}}
  cluster:
    base_path: {folder}/store
    scheduler: slurm
    slurm: {{partition: main, account: proj7, prologue: ["export SITE=lab"]}}
"""
    (folder / "targets.yaml").write_text(targets, encoding="utf-8")
    for name in ("simple-two-runs", "sweep", "scatter-gather"):
        subprocess.run(
            [sys.executable, "-m", "repx", "run", "-l", labs / name],
            cwd=folder,
            env={**os.environ, "REPX_FIXTURE_FAIL_BRANCH": "2", "XDG_CACHE_HOME": str(folder)},
            capture_output=True,
            check=name != "scatter-gather",
        )
    return folder


@pytest.fixture
def repx(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Repx]:
    """Return a call of ``repx`` in a folder and with a home of the test's own."""
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME", "HOME"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    log = logging.getLogger("repx")
    before = (log.handlers, log.level, log.propagate)

    def call(*words: str | Path) -> Said:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in words])
        written = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return Said(ended.value.code, written.out, written.err)

    yield call
    log.handlers, log.level, log.propagate = before
    console.set_verbosity(0)


@pytest.fixture
def unreadable(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Return what shuts a folder to this process, for root too."""

    def shut(folder: Path) -> None:
        look = os.stat

        def refused(path: int | str | Path, **options: Any) -> os.stat_result:  # noqa: ANN401
            if not isinstance(path, int) and Path(path).is_relative_to(folder):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
            return look(path, **options)

        monkeypatch.setattr(os, "stat", refused)

    return shut
