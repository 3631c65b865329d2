"""One authenticated connection that many commands use: ssh's own multiplexing (ControlMaster).

A socket of ours stands for the connection. While it is there, ssh is told of it; without an answer
from it ssh connects by itself, so a connection that has ended hinders nobody.
"""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

from repx.address import destination
from repx.errors import ConnectionLostError, StorageError
from repx.places import command

if TYPE_CHECKING:
    from collections.abc import Sequence

    from repx.target import Target

# A socket's path has to be short; the first is gone after the user's last session.
_FOLDERS: Final = ("/run/user/{uid}", "/tmp/repx-{uid}")  # noqa: S108  # looked at before use
_ASK_S: Final = 30
_READY: Final = "repx: ready"
# Fails where ssh would open a connection of its own.
_ONLY_SHARED: Final = ("-o", "ProxyCommand=false", "-o", "BatchMode=yes")


class Shared:
    """The connection to one machine that commands share, which may or may not be there."""

    def __init__(self, target: Target, ssh: Sequence[str]) -> None:
        """Name the machine; ``ssh`` is the command line up to its options."""
        self._name = target.address or ""
        self._ssh = ssh
        self._to = destination(self._name)
        digest = hashlib.sha256(f"{target.ssh_config}\0{self._name}".encode()).hexdigest()
        self._file = f"repx-{digest[:24]}"

    @property
    def socket(self) -> Path:
        """Return where the socket is or would be."""
        return _folder() / self._file

    def options(self) -> tuple[str, ...]:
        """Return what tells ssh to use the connection; nothing while there is none."""
        if not self.socket.is_socket() or not _is_private(self.socket.parent):
            return ()
        return ("-o", "ControlMaster=no", "-o", f"ControlPath={self.socket}")

    def is_open(self) -> bool:
        """Tell whether the connection is there."""
        options = self.options()
        if not options:
            return False
        argv = [*self._ssh, *options, "-O", "check", *self._to]
        return command.run(argv, timeout_s=_ASK_S, check=False).code == 0

    def open(self, idle: str) -> None:
        """Authenticate, on the terminal if need be; the connection ends when ``idle`` so long.

        Raises ConnectionLostError where that fails.
        """
        socket = self.socket
        _make_private(socket.parent)
        socket.unlink(missing_ok=True)  # nobody answered there
        master = ("-o", "ControlMaster=yes", "-o", f"ControlPath={socket}")
        argv = [*self._ssh, *master, "-o", f"ControlPersist={idle}", "-f", "-N", *self._to]
        code = command.attended(argv)
        if code != 0:
            said = f"ssh ended with exit code {code}; what it said stands above"
            raise ConnectionLostError(self._name, said, [*self._ssh, *self._to, "true"])

    def close(self) -> None:
        """End the connection, and whatever uses it."""
        options = self.options()
        if options:
            argv = [*self._ssh, *options, "-O", "exit", *self._to]
            command.run(argv, timeout_s=_ASK_S, check=False)
            self.socket.unlink(missing_ok=True)

    def sessions(self) -> tuple[int, str]:
        """Return how many commands can use the connection at once: 0, 1, or 2 for any number.

        ``MaxSessions`` of the server decides. Also what was said where it is 0.
        """
        argv = [*self._ssh, *self.options(), *_ONLY_SHARED, "-T", *self._to]
        first = command.pipe([*argv, f"echo {_READY}; cat"])
        said = ""
        try:
            for line in first.output:  # a banner may come first
                if _READY.encode() in line:
                    second = command.run([*argv, "true"], timeout_s=_ASK_S, check=False)
                    return (2 if second.code == 0 else 1), ""
                said = line.decode(errors="replace").strip() or said
        finally:
            _, errors = first.close()
        return 0, errors.strip() or said


def is_configured(target: Target, ssh: Sequence[str]) -> bool:
    """Tell whether the user's own configuration shares connections already."""
    argv = [*ssh, "-G", *destination(target.address or "")]
    said = command.run(argv, timeout_s=_ASK_S, check=False).stdout.splitlines()
    own = dict(line.partition(" ")[::2] for line in said)
    master, path = own.get("controlmaster", "false"), own.get("controlpath", "none")
    return master not in ("false", "no") and path != "none"


def _folder() -> Path:
    usual, other = (Path(each.format(uid=os.geteuid())) for each in _FOLDERS)
    return usual if usual.is_dir() else other


def _is_private(folder: Path) -> bool:
    try:
        there = folder.lstat()
    except OSError:
        return False
    private = not stat.S_IMODE(there.st_mode) & 0o077
    return stat.S_ISDIR(there.st_mode) and there.st_uid == os.geteuid() and private


def _make_private(folder: Path) -> None:
    folder.mkdir(mode=0o700, exist_ok=True)
    if not _is_private(folder):
        raise StorageError(
            f"{folder} is not yours alone, so no connection can be kept there",
            hint=f"remove it: rm -r {folder}",
        )
