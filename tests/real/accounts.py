"""Accounts on this machine for tests: a name, a home and a login shell, removed afterwards."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.real import sshd as sshds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.real.sshd import Sshd

BANNER = "Welcome! Mind the quota."
# Which files a shell reads when ssh runs a command, and at login.
STARTS = {
    "bash": (".bashrc", ".bash_profile"),
    "dash": (".profile", ".profile"),
    "fish": (".config/fish/config.fish",) * 2,
    "tcsh": (".tcshrc", ".login"),
    "zsh": (".zshenv", ".zprofile"),
}


_PREFIX = "repx-account-"


@dataclass(frozen=True, kw_only=True)
class Account:
    """One account; ``sshd`` lets it in, as ``far``."""

    name: str
    uid: int
    home: Path
    sshd: Sshd


@contextlib.contextmanager
def account(
    shell: str,
    *lines: str,
    name: str = "",
    banner: str = BANNER,
    program: str = sshds.SSHD or "",
) -> Iterator[Account]:
    """Make an account whose shell prints a banner whenever it starts, and an sshd for it."""
    if os.geteuid() != 0:
        pytest.skip("only root can make accounts")
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    folder.chmod(0o755)  # sshd reads keys as the user
    name = name or f"repx{uuid.uuid4().hex[:12]}"
    home = folder / "home"
    path = shutil.which(shell)
    assert path is not None
    subprocess.run(["useradd", "-p", "*", "-m", "-d", home, "-s", path, name], check=True)
    try:
        for start in STARTS[shell] if banner else ():
            (home / start).parent.mkdir(parents=True, exist_ok=True)
            (home / start).write_text(f"echo '{banner}'\n")
        subprocess.run(["chown", "-R", name, home], check=True)
        made = sshds.start(folder, *lines, program=program)
        made.configure(f"User {name}")
        for file in (made.config, folder / "client", folder / "known_hosts"):
            file.chmod(0o600)
        try:
            uid = pwd.getpwnam(name).pw_uid
            yield Account(name=name, uid=uid, home=home, sshd=made)
        finally:
            made.stop()
    finally:
        _end(name)
        subprocess.run(["userdel", "-f", name], check=True)
        shutil.rmtree(folder)


def is_left_over(known: pwd.struct_passwd) -> bool:
    """Tell whether an account is one of a test that was killed."""
    return f"/{_PREFIX}" in known.pw_dir and not Path(known.pw_dir).exists()


def _end(name: str) -> None:
    """End what an account has left running."""
    found = subprocess.run(
        ["ps", "-o", "pid=", "-u", name], check=False, capture_output=True, text=True
    ).stdout
    for word in found.split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(word), signal.SIGKILL)
