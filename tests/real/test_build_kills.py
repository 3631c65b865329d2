"""A build killed at any moment leaves the old Lab or the new one, and the next one works."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from repx.lab.load import open_lab
from repx.lab.verify import verify

LAB: Final = """\
stages:
  a: {parameters: {i: 0}, outputs: {o: $out/o}, run: 'echo "${parameters[i]}" > "${outputs[o]}"'}
pipelines: {main: [a]}
runs: {r: {parameters: {i: {range: [1, LAST]}}}}
"""
COMMAND: Final = (sys.executable, "-m", "repx", "build")

pytestmark = pytest.mark.real


@pytest.mark.parametrize("delay_s", [0.2, 0.5, 0.8, 1.1])
def test_a_killed_build_leaves_one_whole_lab(tmp_path: Path, delay_s: float) -> None:
    source = tmp_path / "lab.yaml"
    source.write_text(LAB.replace("LAST", "2"), encoding="utf-8")
    subprocess.run(COMMAND, cwd=tmp_path, check=True, stderr=subprocess.DEVNULL)
    source.write_text(LAB.replace("LAST", "5000"), encoding="utf-8")

    with subprocess.Popen(COMMAND, cwd=tmp_path, stderr=subprocess.DEVNULL) as process:
        try:
            process.wait(timeout=delay_s)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
    left = open_lab(tmp_path / "result")
    verify(left, cache=None)
    subprocess.run(COMMAND, cwd=tmp_path, check=True, stderr=subprocess.DEVNULL)

    assert len(left.lab.jobs) in (2, 5000)
    assert len(open_lab(tmp_path / "result").lab.jobs) == 5000
    assert not list(tmp_path.glob(".repx/labs/*.part"))
