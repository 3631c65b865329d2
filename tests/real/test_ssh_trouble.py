"""Accounts and connections as they are: banners, other shells, no python3, and what breaks."""

from __future__ import annotations

import contextlib
import os
import pwd
import signal
import subprocess
import sys
from io import BytesIO
from typing import TYPE_CHECKING

import pytest

from repx import places
from repx.errors import CommandNotFoundError, ConnectionLostError, InputError
from repx.places.ssh import Ssh
from repx.target import Target
from tests.real import sshd as sshds

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.real.sshd import Sshd

pytestmark = [pytest.mark.real, pytest.mark.needs("ssh")]


def reached(made: Sshd, base: str = "/") -> Ssh:
    far = places.of(Target(name="t", base_path=base, address="far", ssh_config=str(made.config)))
    assert isinstance(far, Ssh)
    return far


@contextlib.contextmanager
def forced(folder: Path, command: str) -> Iterator[Ssh]:
    """Start an sshd that runs ``command`` instead of what is asked."""
    script = folder / "forced.sh"
    script.write_text(f"#!/bin/sh\n{command}\n")
    script.chmod(0o755)
    made = sshds.start(folder, f"ForceCommand {script}", "SetEnv WHERE=/some/where")
    far = reached(made, "${WHERE}/it's")
    try:
        yield far
    finally:
        far.close()
        made.process.terminate()
        made.process.wait()


def test_a_bare_path_is_that_of_a_login_shell_where_it_matters(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    tool = tmp_path / "bin" / "only-at-login"
    tool.write_text("#!/bin/sh\necho found\n")
    tool.chmod(0o755)
    (tmp_path / ".bash_profile").write_text(f"echo noise; PATH={tmp_path}/bin:$PATH\n")
    command = f'HOME={tmp_path} PATH=/usr/bin:/bin exec sh -c "$SSH_ORIGINAL_COMMAND"'
    with forced(tmp_path, command) as far:
        assert "found\n" == far.run(["only-at-login"]).stdout


# Words of what is asked of sshd, so that no usual python3 is found.
HIDE = "s#python3 #none #g; s#/[a-z-]*python#/none#g"


def test_no_python_is_named(tmp_path: Path) -> None:
    hide = f'{HIDE}; s#python3"#none"#'
    command = f'exec sh -c "$(printf %s "$SSH_ORIGINAL_COMMAND" | sed \'{hide}\')"'
    with (
        forced(tmp_path, command) as far,
        pytest.raises(CommandNotFoundError, match="python3 is not installed on far"),
    ):
        far.run(["true"])


def test_a_python_that_only_a_login_shell_has_is_found(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python3").symlink_to(sys.executable)
    (tmp_path / ".bash_profile").write_text(f"echo noise; PATH={tmp_path}/bin:$PATH\n")
    command = f'HOME={tmp_path} exec sh -c "$(printf %s "$SSH_ORIGINAL_COMMAND" | sed \'{HIDE}\')"'
    with forced(tmp_path, command) as far:
        assert str(tmp_path / "bin" / "python3") == far.python


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("echo; echo This account is not available.; exit 1", "far: This account is not available"),
        ("exit 1", "far: ssh ended with exit code 1, and said nothing"),
        ('exec </dev/null; sh -c "$SSH_ORIGINAL_COMMAND"', "far: no input gets there; the reason"),
        ('read -r line; sh -c "$SSH_ORIGINAL_COMMAND"', "far: no input gets there; the reason"),
    ],
    ids=["nologin", "nothing", "closed", "read away"],
)
def test_an_account_that_runs_no_commands_is_named(tmp_path: Path, command: str, said: str) -> None:
    with forced(tmp_path, command) as far, pytest.raises(ConnectionLostError) as caught:
        far.run(["true"])
    assert said in caught.value.message
    assert "Traceback" not in caught.value.message


def test_a_key_that_others_may_read_is_named(tmp_path: Path) -> None:
    made = sshds.start(tmp_path, "KbdInteractiveAuthentication no")
    (tmp_path / "client").chmod(0o644)
    made.configure("NumberOfPasswordPrompts 3")
    far = reached(made)
    try:
        with pytest.raises(ConnectionLostError, match='client": bad permissions'):
            far.run(["true"])
    finally:
        far.close()
        made.stop()


def test_what_a_configuration_is_for_people_does_not_hinder(sshd: Sshd, tmp_path: Path) -> None:
    """A port that is forwarded for a notebook is in use already; a terminal is wanted."""
    config = sshd.config.read_text()
    lines = (
        f"LocalForward {sshd.port} localhost:1",
        "ExitOnForwardFailure yes",
        "RequestTTY force",
    )
    for remote, wanted in ((), "said\n"), (("RemoteCommand tmux",), "has a RemoteCommand"):
        own = tmp_path / "config"
        own.write_text(config + "".join(f"    {line}\n" for line in (*lines, *remote)))
        far = places.of(Target(name="t", base_path="/", address="far", ssh_config=str(own)))
        with contextlib.closing(far):
            try:
                said = far.run(["echo", "said"]).stdout
            except ConnectionLostError as error:
                said = error.message
        assert wanted in said


def test_a_variable_that_is_not_set_there_is_named(sshd: Sshd) -> None:
    far = reached(sshd, "${NOT_SET_THERE}/x")
    with contextlib.closing(far), pytest.raises(InputError, match=r"\$\{NOT_SET_THERE\}/x"):
        _ = far.root


def test_a_question_is_asked_again_over_a_new_connection(sshd: Sshd, tmp_path: Path) -> None:
    far = reached(sshd)
    with contextlib.closing(far):
        files = far.files(str(tmp_path))
        files.write_many([("a", 0o644, b"", "")])
        _break(far)

        assert ["a", "incoming"] == files.names("")


def test_what_changes_something_is_not_asked_twice(sshd: Sshd, tmp_path: Path) -> None:
    far = reached(sshd)
    with contextlib.closing(far):
        far.run(["true"])
        _break(far)
        with pytest.raises(ConnectionLostError):
            far.run(["touch", str(tmp_path / "made")])

    assert not (tmp_path / "made").exists()


def test_a_connection_that_breaks_amid_a_file_leaves_no_file(sshd: Sshd, tmp_path: Path) -> None:
    far = reached(sshd)

    class Breaking(BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell() > 1 << 20:
                _break(far)
            return super().read(size)

    with contextlib.closing(far):
        files = far.files(str(tmp_path))
        with pytest.raises(ConnectionLostError):
            files.write_many([("a/b", 0o644, Breaking(bytes(4 << 20)), "")])

        files.write_many([("a/b", 0o644, b"again", "")])
        assert {"a/b": 5} == files.sizes(["a"])


def test_a_full_disk_there_is_told_before_everything_is_sent(sshd: Sshd, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root for a small file system")
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", small], check=True)
    far = reached(sshd)
    try:
        files = far.files(str(small))
        many = ((f"a/{number}", 0o644, bytes(1 << 20), "") for number in range(200))
        with pytest.raises(OSError, match="No space left"):
            files.write_many(many)
        assert far.channel.traffic.sent_bytes < 100 << 20
        assert [] == files.names("incoming")
    finally:
        far.close()
        subprocess.run(["umount", small], check=True)


def test_a_server_that_allows_one_session_is_enough(tmp_path: Path) -> None:
    made = sshds.start(tmp_path, "MaxSessions 1")
    far = reached(made)
    try:
        user = pwd.getpwuid(os.geteuid()).pw_name
        assert user == far.run(["id", "-un"]).stdout.strip()
        assert b"x" == _read_back(far, tmp_path)
    finally:
        far.close()
        made.process.terminate()
        made.process.wait()


def test_an_ipv6_address_in_brackets_is_reached(tmp_path: Path) -> None:
    made = sshds.start(tmp_path, "ListenAddress ::1")
    known, config = tmp_path / "known_hosts", made.config
    known.write_text(known.read_text().replace("127.0.0.1", "::1"))
    config.write_text(config.read_text().replace("Host far\n    HostName 127.0.0.1", "Host ::1"))
    address = f"ssh://[::1]:{made.port}"
    far = places.of(Target(name="t", base_path="/", address=address, ssh_config=str(config)))
    try:
        assert "said\n" == far.run(["echo", "said"]).stdout
    finally:
        far.close()
        made.stop()


def test_a_host_key_that_has_changed_is_named_and_not_taken(tmp_path: Path) -> None:
    made = sshds.start(tmp_path)
    other = (tmp_path / "client.pub").read_text().split()[1]
    known = tmp_path / "known_hosts"
    words = known.read_text().split()
    known.write_text(f"{words[0]} {words[1]} {other}\n")
    far = reached(made)
    try:
        with pytest.raises(ConnectionLostError) as caught:
            far.run(["true"])
        said = caught.value.message.splitlines()
        assert "cannot reach far: Offending ED25519 key in " in said[0]
        assert "has changed and you have requested strict checking" in said[1]
        assert "Host key verification failed." == said[2]
        assert f"try: ssh -F {made.config} " in str(caught.value.hint)
        assert known.read_text().split()[2] == other
    finally:
        far.close()
        made.stop()


def _read_back(far: Ssh, folder: Path) -> bytes:
    files = far.files(str(folder))
    files.write_many([("file", 0o644, b"x", "")])
    return b"".join(files.chunks("file"))


def _break(far: Ssh) -> None:
    """Kill the ssh process of a place, as a broken connection ends it."""
    assert far.channel.pid is not None
    os.kill(far.channel.pid, signal.SIGKILL)
