"""A private sshd on loopback, and what a user needs to log in there: keys and a configuration."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

SSHD = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/usr/bin")


@dataclass(frozen=True)
class Sshd:
    """One sshd: ``config`` is for ``ssh -F``, and knows the machine as ``far``."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes]

    @property
    def config(self) -> Path:
        return self.folder / "ssh_config"

    @property
    def logins(self) -> int:
        """Return how often somebody has authenticated."""
        log = (self.folder / "sshd.log").read_text(errors="replace")
        return sum(line.startswith("Accepted ") for line in log.splitlines())

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()

    def configure(self, *lines: str) -> Path:
        """Write the client's configuration, with more lines for the host, and return its path."""
        text = f"""\
Host far
    HostName 127.0.0.1
    Port {self.port}
    IdentityFile {self.folder}/client
    IdentitiesOnly yes
    UserKnownHostsFile {self.folder}/known_hosts
    StrictHostKeyChecking yes
"""
        self.config.write_text(text + "".join(f"    {line}\n" for line in lines))
        return self.config


def start(folder: Path, *lines: str, program: str = SSHD or "") -> Sshd:
    """Start an sshd in the foreground, with more lines in its configuration."""
    assert program
    Path("/run/sshd").mkdir(exist_ok=True)  # sshd of Debian wants it
    for name in ("host", "client"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True
        )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = folder / "sshd_config"
    config.write_text(
        "".join(f"{line}\n" for line in lines)  # the first value of a key counts
        + f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nPidFile none\n"
        f"AuthorizedKeysFile {folder}/client.pub\nStrictModes no\nUsePAM no\n"
        "Subsystem sftp internal-sftp\n"
    )
    key = (folder / "host.pub").read_text().split()[:2]
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {' '.join(key)}\n")
    with (folder / "sshd.log").open("wb") as log:
        process = subprocess.Popen([program, "-D", "-e", "-f", config], stdout=log, stderr=log)
    made = Sshd(folder, port, process)
    made.configure()
    end = time.monotonic() + 20
    while time.monotonic() < end:
        with socket.socket() as tried:
            if tried.connect_ex(("127.0.0.1", port)) == 0:
                return made
        time.sleep(0.05)
    raise AssertionError((folder / "sshd.log").read_text())


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """Return a private sshd for the whole session."""
    if SSHD is None:
        pytest.skip("ssh is not installed: no sshd")
    made = start(tmp_path_factory.mktemp("sshd"))
    yield made
    made.stop()
