"""The ordinary user of a private cluster: neither root nor the user that Slurm itself is.

``python -m tests.real.slurm_cluster --ordinary -- bash`` opens a shell as this user.
"""

from __future__ import annotations

import os
import pwd
import subprocess
import time
from pathlib import Path
from typing import Final

NAME: Final = "repx-user"
_ACCOUNT: Final = ("--shell=/bin/bash", "--password=*")  # no password, but not locked for ssh
_EXISTS: Final = 9  # useradd(8)
_LOCKED: Final = 1  # somebody else changes /etc/passwd


def entry() -> pwd.struct_passwd:
    """Return the user, who is made where there is none; it takes root."""
    deadline = time.monotonic() + 20
    while True:
        try:
            return pwd.getpwnam(NAME)
        except KeyError:
            made = subprocess.run(
                [*("useradd", "--no-create-home", "--user-group"), *_ACCOUNT, NAME],
                check=False,
                capture_output=True,
                text=True,
            )
            if made.returncode not in (0, _EXISTS, _LOCKED) or time.monotonic() > deadline:
                raise RuntimeError(made.stderr) from None


def give(folder: Path) -> None:
    """Make a folder and all in it this user's."""
    user = entry()
    for path in (folder, *folder.rglob("*")):
        os.chown(path, user.pw_uid, user.pw_gid, follow_symlinks=False)


def words(command: tuple[str, ...]) -> list[str]:
    """Return the words that run a command as this user."""
    user = entry()
    ids = (f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups")
    return ["setpriv", *ids, "--bounding-set=-all", "--inh-caps=-all", "--", *command]
