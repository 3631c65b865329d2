"""Starting repx is cheap: what each command may import, counted and not timed."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

pytestmark = pytest.mark.slow  # each starts a process

HEAVY: Final = {"fsspec", "jinja2", "jsonschema", "networkx", "pandas", "rich", "sh", "yaml"}


def imports(*arguments: str, cwd: Path) -> set[str]:
    """Return the names of all modules that ``repx arguments`` imports."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "repx", *arguments],
        cwd=cwd,
        text=True,
        check=True,
        capture_output=True,
    )
    lines = (line for line in done.stderr.splitlines() if line.startswith("import time:"))
    return {line.rpartition("|")[2].strip() for line in lines}


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["run", "--help"]], ids=" ".join)
def test_asking_for_help_imports_nothing_heavy(arguments: list[str], tmp_path: Path) -> None:
    roots = {name.partition(".")[0] for name in imports(*arguments, cwd=tmp_path)}

    assert "repx" in roots
    assert set() == HEAVY & roots


def test_version_needs_next_to_nothing_of_repx(tmp_path: Path) -> None:
    """It is asked in prompts and makefiles, and answered before click is imported."""
    found = imports("--version", cwd=tmp_path)

    assert "click" not in found
    assert {"repx", "repx.cli"} == {name for name in found if name.split(".")[0] == "repx"}


@pytest.mark.parametrize("arguments", [["list", "jobs"], ["status"]], ids=" ".join)
def test_a_look_imports_nothing_that_only_a_run_needs(
    arguments: list[str], labs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A targets.yaml that was found valid is not parsed again."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "targets.yaml").write_text("targets: {local: {base_path: store}}\n")
    (tmp_path / "result").symlink_to(labs / "sweep")
    imports("status", cwd=tmp_path)

    found = imports(*arguments, cwd=tmp_path)

    only_for_runs = {
        *("repx.engine", "repx.plan", "repx.render", "repx.transfer", "repx.images"),
        *("repx.runtimes", "repx.schedulers", "repx.follow", "repx.gone", "repx.launch"),
    }
    assert set() == found & (HEAVY | only_for_runs | {"csv", "random", "tarfile", "zipfile"})


def test_a_look_without_targets_yaml_reads_none(labs: Path, tmp_path: Path) -> None:
    (tmp_path / "result").symlink_to(labs / "sweep")

    found = imports("status", cwd=tmp_path)

    assert set() == found & {"repx.document", "repx.config.profile", "repx.config.repx05"}


def test_listing_jobs_imports_nothing_of_targets(labs: Path, tmp_path: Path) -> None:
    (tmp_path / "result").symlink_to(labs / "sweep")

    found = imports("list", "jobs", cwd=tmp_path)

    assert set() == found & {"repx.target", "repx.store", "repx.places", "subprocess"}


def test_ctrl_c_while_python_still_imports_shows_no_traceback() -> None:
    code = (
        "import os, signal, repx.cli\n"
        "repx.cli._restore_locale = lambda: os.kill(os.getpid(), signal.SIGINT)\n"
        "repx.cli.main(['list'])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert (-signal.SIGINT, "", "") == (done.returncode, done.stdout, done.stderr)
