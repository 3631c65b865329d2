"""`repx debug-run` of an isolated job: a command and a shell on a terminal, in each runtime."""

from __future__ import annotations

import os
import pty
import signal
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tests import image_labs
from tests.real.runtime_place import RUNTIMES
from tests.real.test_runtime_ends import alive, containers, wait_for
from tests.real.test_runtime_ends import mark as mark  # noqa: PLC0414  # a fixture
from tests.real.test_runtimes import FLAVOUR, chain

if TYPE_CHECKING:
    from tests.real.place import Place

pytestmark = pytest.mark.needs("images")
LAYERS = [image_labs.shell_layer(), FLAVOUR]


def job(here: Place) -> str:
    here.repx("run", "--trust", "--stage", "make")
    return next(path.name for path in here.store.glob("outputs/*-make-*"))


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_command_runs_inside_the_isolation(isolated: Callable[..., Place], runtime: str) -> None:
    here = isolated(chain("true"), runtime, LAYERS)

    said = here.repx("debug-run", job(here), "-c", "hostname; cat /etc/flavour; ../run; ls")

    assert "repx\nfrom the image\n" in said
    assert "table.csv" in said
    assert "not found" not in said


class Terminal:
    """A program on a terminal of its own, and what a person types there."""

    def __init__(self, here: Place, *words: str) -> None:
        """Start repx on a new terminal."""
        self.seen = ""
        self.pid, self.screen = pty.fork()
        if self.pid == 0:
            os.chdir(here.folder)
            argv = [sys.executable, "-m", "repx", *words]
            os.execve(argv[0], argv, {**os.environ, **here.env})  # noqa: S606  # as a shell would

    def type(self, text: str, until: str) -> None:
        """Type a text, and wait for an answer that was not there before."""
        at = len(self.seen)
        os.write(self.screen, text.encode())
        deadline = time.monotonic() + 60
        while until not in self.seen[at:]:
            assert time.monotonic() < deadline, self.seen
            try:
                self.seen += os.read(self.screen, 4096).decode(errors="replace")
            except OSError:
                assert until in self.seen[at:], self.seen

    def ends(self) -> int:
        _, status = os.waitpid(self.pid, 0)
        os.close(self.screen)
        return os.waitstatus_to_exitcode(status)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_shell_is_inside_and_survives_control_c(
    isolated: Callable[..., Place], runtime: str
) -> None:
    here = isolated(chain("true"), runtime, LAYERS)

    terminal = Terminal(here, "debug-run", job(here))
    terminal.type('echo "at $(hostname)"\n', until="at repx")
    terminal.type("../run; ls; echo done=$((1 + 1))\n", until="done=2")
    terminal.type("echo go=$((2 + 1)); sleep 300\n", until="go=3")
    time.sleep(0.5)  # until `sleep` has begun; if it has not, the shell is what is interrupted
    terminal.type("\3", until="\n")
    terminal.type("echo alive=$((3 + 1))\n", until="alive=4")
    terminal.type("exit 7\n", until="exit")

    assert "table.csv" in terminal.seen
    assert 7 == terminal.ends()


@pytest.mark.parametrize("how", ["terminal closed", "client killed"])
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_nothing_is_left_of_a_shell_whose_client_is_gone(
    isolated: Callable[..., Place], runtime: str, mark: str, how: str
) -> None:
    here = isolated(chain("true"), runtime, LAYERS)
    terminal = Terminal(here, "debug-run", job(here))
    terminal.type('echo "at $(hostname)"\n', until="at repx")
    terminal.type(f"setsid sleep {mark} & sleep {mark}\n", until=mark)
    wait_for(lambda: len(alive(mark)) == 2, "the shell starts nothing")

    if how == "client killed":
        os.kill(terminal.pid, signal.SIGKILL)
        terminal.ends()
    else:
        os.close(terminal.screen)
        wait_for(lambda: os.waitpid(terminal.pid, os.WNOHANG) != (0, 0), "the client stays")

    wait_for(lambda: not alive(mark) and not containers(here, runtime), "something is left")
