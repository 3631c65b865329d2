"""Whether a Lab's programs run without a question."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from repx.lab import trust
from repx.lab.load import open_lab


@pytest.fixture
def foreign(labs: Path) -> Path:
    return labs / "simple-two-runs"


def test_a_lab_is_trusted_once_it_was_accepted(foreign: Path, tmp_path: Path) -> None:
    opened = open_lab(foreign)
    assert not trust.is_trusted(opened, tmp_path)

    trust.remember(opened.files.read(opened.lab.manifest), tmp_path)

    assert trust.is_trusted(opened, tmp_path)
    assert not trust.is_trusted(opened, None)


def test_a_memory_that_cannot_be_read_accepts_nothing(
    foreign: Path, tmp_path: Path, unreadable: Callable[[Path], None]
) -> None:
    opened = open_lab(foreign)
    trust.remember(opened.files.read(opened.lab.manifest), tmp_path)

    unreadable(tmp_path / "trusted")

    assert not trust.is_trusted(opened, tmp_path)


def test_trust_is_in_content_and_not_in_an_id(foreign: Path, tmp_path: Path) -> None:
    opened = open_lab(foreign)
    manifest = json.loads(opened.files.read(opened.lab.manifest))
    manifest["files"][0]["sha256"] = "0" * 64

    trust.remember(json.dumps(manifest).encode(), tmp_path)

    assert not trust.is_trusted(opened, tmp_path)


def test_what_cannot_be_remembered_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "trusted").write_text("a file where a folder is wanted")

    trust.remember(b"x", tmp_path)


def on_terminal(place: Path, answer: str, *words: str) -> tuple[int, str]:
    """Return exit code and screen of a command whose questions are answered."""
    here, there = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "repx", *words],
        cwd=place,
        env={**os.environ, "HOME": str(place), "XDG_STATE_HOME": str(place / "state")},
        stdin=there,
        stdout=there,
        stderr=there,
    )
    os.close(there)
    screen, deadline = b"", time.monotonic() + 60
    while time.monotonic() < deadline:
        if not select.select([here], [], [], 0.1)[0]:
            continue
        try:
            screen += os.read(here, 4096)
        except OSError:
            break
        if screen.endswith(b"[y/N] "):
            os.write(here, answer.encode() + b"\n")
            screen += b"\n"
    os.close(here)
    return process.wait(timeout=30), screen.decode()


@pytest.mark.slow
def test_on_a_terminal_a_foreign_lab_is_asked_about_once(foreign: Path, tmp_path: Path) -> None:
    (tmp_path / "targets.yaml").write_text("targets: {local: {base_path: store}}\n")
    words = ("run", "--lab", str(foreign))

    code, screen = on_terminal(tmp_path, "n", *words)
    assert (2, True) == (code, "not trusted" in screen)
    assert not (tmp_path / "store").exists()

    code, screen = on_terminal(tmp_path, "y", *words)
    assert (0, True) == (code, "its programs run as you" in screen)

    code, screen = on_terminal(tmp_path, "n", *words, "--force")
    assert (0, False) == (code, "[y/N]" in screen)
