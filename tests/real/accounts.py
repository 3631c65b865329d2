"""Accounts on this machine for tests: a name, a home and a login shell, removed afterwards."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
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


@dataclass(frozen=True, kw_only=True)
class Account:
    """One account; ``sshd`` lets it in, as ``far``."""

    name: str
    uid: int
    home: Path
    sshd: Sshd


@contextlib.contextmanager
def account(shell: str, *lines: str) -> Iterator[Account]:
    """Make an account whose shell prints a banner whenever it starts, and an sshd for it."""
    if os.geteuid() != 0:
        pytest.skip("only root can make accounts")
    folder = Path(tempfile.mkdtemp(prefix="repx-account-"))
    folder.chmod(0o755)  # sshd reads keys as the user
    name = f"repx{uuid.uuid4().hex[:12]}"
    home = folder / "home"
    program = shutil.which(shell)
    assert program is not None
    subprocess.run(["useradd", "-p", "*", "-m", "-d", home, "-s", program, name], check=True)
    try:
        for file in STARTS[shell]:
            (home / file).parent.mkdir(parents=True, exist_ok=True)
            (home / file).write_text(f"echo '{BANNER}'\n")
        subprocess.run(["chown", "-R", name, home], check=True)
        made = sshds.start(folder, *lines)
        made.configure(f"User {name}")
        for path in (made.config, folder / "client", folder / "known_hosts"):
            path.chmod(0o600)
        try:
            uid = pwd.getpwnam(name).pw_uid
            yield Account(name=name, uid=uid, home=home, sshd=made)
        finally:
            made.stop()
    finally:
        subprocess.run(["pkill", "-KILL", "-u", name], check=False)
        subprocess.run(["userdel", name], check=True)
        shutil.rmtree(folder)
