"""What every place does: run, ask, start what outlives us, and signal only what is ours."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from repx.errors import CommandError, CommandNotFoundError
from repx.places import Question
from repx.places.holder import ELSEWHERE, FOREIGN, GONE, SENT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from repx.places import Place


pytestmark = pytest.mark.slow  # it starts processes


def wait_until(what: Callable[[], object]) -> None:
    end = time.monotonic() + 20
    while not what():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def test_a_command_says_how_it_ended(place: Place, tmp_path: Path) -> None:
    words = ["bash", "-c", 'echo "$1" "$PWD"; cat; echo no >&2; exit 3', "x", "a 'b' $c\n"]
    done = place.run(words, cwd=tmp_path, stdin="in", check=False)

    assert (3, f"a 'b' $c\n {tmp_path}\nin", "no\n") == (done.code, done.stdout, done.stderr)
    with pytest.raises(CommandError, match="exit code 3"):
        place.run(["bash", "-c", "exit 3"])
    with pytest.raises(CommandError, match="no answer within"):
        place.run(["sleep", "30"], timeout_s=0.2)
    with pytest.raises(CommandNotFoundError, match="no-such-program"):
        place.run(["no-such-program"])


def test_each_question_gets_its_answer(place: Place) -> None:
    questions = [
        Question(["echo", "one"], lambda said: (said.code, said.stdout)),
        Question(["no-such-program"], lambda said: (said.code, said.stdout)),
        Question(["sleep", "30"], lambda said: (said.code, said.stdout), timeout_s=0.2),
    ]

    assert [(0, "one\n"), (127, ""), (124, "")] == place.ask(questions)


def test_a_process_is_started_detached(place: Place, tmp_path: Path) -> None:
    script = 'echo "$GIVEN $PWD"; [[ $(ps -o sid= -p $$) -eq $$ ]] && echo own; exec sleep 60'
    process = place.spawn(
        ["bash", "-c", script],
        output=str(tmp_path / "log"),
        cwd=str(tmp_path),
        more_env={"GIVEN": "it's"},
    )

    wait_until(lambda: (tmp_path / "log").read_text() == f"it's {tmp_path}\nown\n")
    assert process.poll() is None
    process.interrupt()
    wait_until(lambda: process.poll() is not None)


def test_only_a_process_of_ours_that_was_started_for_it_gets_a_signal(
    place: Place, tmp_path: Path
) -> None:
    lock = tmp_path / "agent.lock"
    code = "import time; time.sleep(60)"
    innocent = subprocess.Popen([sys.executable, "-c", code, tmp_path / "other"])
    ours = subprocess.Popen([sys.executable, "-c", code, tmp_path])

    def told(content: str) -> str:
        lock.write_text(f"{content}\n")
        return place.signal(str(lock), str(tmp_path), signal.SIGHUP)[0]

    host = os.uname().nodename
    assert ELSEWHERE == told(f"other-host {ours.pid}")
    assert FOREIGN == told(f"{host} {innocent.pid}")
    assert FOREIGN == told(f"{host} -1")
    assert FOREIGN == told(f"{host} 1")
    assert FOREIGN == told(f"{host} ²")
    assert FOREIGN == told(f"{host} {'9' * 5000}")
    os.utime(lock, (0, 0))
    assert (FOREIGN, host) == place.signal(str(lock), str(tmp_path), signal.SIGHUP)
    assert SENT == told(f"{host} {ours.pid}")
    assert -signal.SIGHUP == ours.wait(20)
    assert GONE == told(f"{host} {ours.pid}")
    assert innocent.poll() is None
    innocent.kill()
    innocent.wait()
