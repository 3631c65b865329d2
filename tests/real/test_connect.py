"""`repx connect`, and how often a person authenticates: once, or at most once per command."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from repx import places
from repx.places.ssh import Ssh
from repx.target import Target
from tests.real import sshd as sshds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.real.place import Place
    from tests.real.sshd import Sshd

pytestmark = [pytest.mark.real, pytest.mark.needs("ssh")]

LAB: Final = {
    "stages": {"a": {"outputs": {"x": "$out/x"}, "run": 'echo said; echo 1 >"${outputs[x]}"'}},
    "pipelines": {"m": ["a"]},
    "runs": {"r": {}},
}
ANSWER: Final = "open-sesame"


@contextlib.contextmanager
def reached(here: Place, folder: Path, *lines: str, program: str = "") -> Iterator[Sshd]:
    """Make a machine of the target, whose sshd has more lines in its configuration."""
    folder.mkdir()
    made = sshds.start(folder, *lines, **({"program": program} if program else {}))
    here.use(address="far", ssh_config=str(made.config))
    try:
        yield made
    finally:
        here.repx("connect", "--close")
        made.stop()


@pytest.fixture
def here(defined: Callable[..., Place]) -> Place:
    return defined(LAB)


def master(made: Sshd) -> int:
    """Return the process that keeps a connection."""
    far = places.of(Target(name="t", base_path="/", address="far", ssh_config=str(made.config)))
    assert isinstance(far, Ssh)
    argv = ["ssh", "-F", str(made.config), *far.shared.options(), "-O", "check", "far"]
    said = subprocess.run(argv, check=True, capture_output=True, text=True).stderr
    return int(said.partition("pid=")[2].rstrip(")\r\n"))


def test_commands_share_one_authentication(here: Place, tmp_path: Path) -> None:
    with reached(here, tmp_path / "far") as made:
        assert "not connected to far" in here.repx("connect", "--status", code=3)
        assert "connected to far; `repx connect here --close` ends" in here.repx("connect")
        assert '"connected": true' in here.repx("connect", "here", "--status", "--json")
        here.repx("run")
        here.repx("status")
        assert "connected to far\n" == here.repx("connect")
        assert 1 == made.logins
        assert "closed the connection to far" in here.repx("connect", "--close")
        assert "there was no connection" in here.repx("connect", "--close")
        here.repx("status")
        assert 2 == made.logins


def test_a_connection_that_has_ended_hinders_nobody(here: Place, tmp_path: Path) -> None:
    with reached(here, tmp_path / "far") as made:
        here.repx("connect")
        os.kill(master(made), signal.SIGKILL)
        here.repx("status")
        assert "not connected" in here.repx("connect", "--status", code=3)
        assert "connected to far;" in here.repx("connect")


def test_a_server_with_one_session_per_connection_is_named(here: Place, tmp_path: Path) -> None:
    with reached(here, tmp_path / "far", "MaxSessions 1") as made:
        assert "allows one command at a time over a connection" in here.repx("connect")
        before = made.logins
        here.repx("run")
        here.repx("status")
        assert before == made.logins


def test_a_server_that_forbids_sharing_is_named(here: Place, tmp_path: Path) -> None:
    with reached(here, tmp_path / "far", "MaxSessions 0"):
        said = here.repx("connect", code=3)
        assert "ends a shared connection, or lets no command run over it" in said
        assert "each command of repx authenticates by itself" in said
        assert "hint: ask its administrator for MaxSessions of at least 2" in said


def test_this_machine_needs_no_connection(here: Place) -> None:
    assert "target 'here' is this machine" in here.repx("connect", code=2)
    assert "do not go together" in here.repx("connect", "--close", "--status", code=2)


def test_what_does_not_let_us_in_says_so_on_the_terminal(here: Place, tmp_path: Path) -> None:
    with reached(here, tmp_path / "far") as made:
        made.configure("IdentityFile none", "PreferredAuthentications none")
        said = here.repx("connect", code=3)
    assert "Permission denied" in said
    assert "error: cannot reach far: ssh ended with exit code 255" in said
    assert "hint: try: ssh -F " in said


@pytest.mark.parametrize("lines", [(), ("MaxSessions 1",)], ids=["usual", "one session"])
def test_a_shell_there_costs_one_authentication(
    here: Place, tmp_path: Path, lines: tuple[str, ...]
) -> None:
    with reached(here, tmp_path / "far", *lines) as made:
        here.repx("run")
        before = made.logins
        code, said = terminal(here, "debug-run r", "pwd; exit 7\n", when="(repx debug)")

        assert 7 == code, said
        assert f"{here.store}/debug/" in said
        assert before + 1 == made.logins


def test_a_second_factor_is_asked_for_on_the_terminal_once(here: Place, tmp_path: Path) -> None:
    with (
        two_factors(tmp_path) as (program, lines),
        reached(here, tmp_path / "far", *lines, program=program) as made,
    ):
        code, said = terminal(here, "run", f"{ANSWER}\n", when="Password:")
        assert (0, 1) == (code, made.logins), said
        code, said = terminal(here, "connect", f"{ANSWER}\n", when="Password:")
        assert (0, 2) == (code, made.logins), said
        assert "succeeded" in here.repx("status")
        assert 2 == made.logins


def test_ctrl_c_at_a_question_ends_the_command(here: Place, tmp_path: Path) -> None:
    with (
        two_factors(tmp_path) as (program, lines),
        reached(here, tmp_path / "far", *lines, program=program),
    ):
        code, said = terminal(here, "status", "\x03", when="Password:")
    assert 130 == code, said
    assert "interrupted" in said


@contextlib.contextmanager
def two_factors(folder: Path) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Give an sshd, and its configuration, that wants a key and then a password."""
    if os.geteuid() != 0:
        pytest.skip("needs root for a PAM service")
    name = f"repx-sshd-{os.getpid()}"
    program = folder / name  # sshd calls its PAM service as itself
    program.symlink_to(sshds.SSHD or "")
    check = folder / "check"
    check.write_text(f"#!/bin/sh\nexec grep -q {ANSWER}\n")
    check.chmod(0o755)
    service = Path("/etc/pam.d") / name
    service.write_text(
        f"auth requisite pam_exec.so expose_authtok quiet {check}\n"
        + "".join(f"{kind} required pam_permit.so\n" for kind in ("auth", "account", "session"))
    )
    methods = "AuthenticationMethods publickey,keyboard-interactive"
    try:
        yield (
            str(program),
            ("UsePAM yes", "PermitRootLogin yes", "KbdInteractiveAuthentication yes", methods),
        )
    finally:
        service.unlink()


def terminal(here: Place, line: str, typed: str, *, when: str) -> tuple[int, str]:
    """Run a command on a terminal and type once it shows something; return code and words."""
    command = shlex.join([sys.executable, "-m", "repx", *shlex.split(line)])
    with subprocess.Popen(
        ["script", "--quiet", "--flush", "--return", "--command", command, "/dev/null"],
        cwd=here.folder,
        env={**os.environ, **here.env, "SHELL": "/bin/bash"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        said = b""
        while chunk := os.read(process.stdout.fileno(), 4096):
            said += chunk
            if when.encode() in said and typed:
                process.stdin.write(typed.encode())
                process.stdin.flush()
                typed = ""
    return process.returncode, said.decode()


COMMANDS: Final = (
    "run",
    "run --force --detach",
    "status --follow",
    "status --check",
    "log r -f",
    "show job r",
    "show output r",
    "usage",
    "cancel --all",
    "pull r -o brought",
    "targets check",
    "list jobs",
    "debug-run r -c true",
)


def test_each_command_authenticates_once_at_most(here: Place, tmp_path: Path) -> None:
    with reached(here, tmp_path / "far") as made:
        counted = {}
        for line in COMMANDS:
            before = made.logins
            here.repx(*shlex.split(line))
            counted[line] = made.logins - before
            here.repx("connect", "--close")  # debug-run keeps its connection for a minute

    assert {} == {line: count for line, count in counted.items() if count > 1}
    assert 1 == counted["run"]
