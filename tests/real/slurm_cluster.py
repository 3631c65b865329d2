"""A private Slurm cluster of two nodes on this machine, for the tests and for a developer's shell.

``python tests/real/slurm_cluster.py -- bash`` opens a shell in which ``sbatch``, ``squeue`` and
``repx`` talk to a fresh cluster; leaving the shell takes the cluster away. It needs root and
Debian's packages ``slurm-wlm slurmctld slurmd munge``. Everything it writes, its munge key and
its sockets included, lies in one new folder, and its ports are picked free, so several clusters
live side by side. The daemons die with the process that started them. As on a site, the controller
is the user ``slurm``, and any user of the machine may submit; root administers. One with accounting
is in slurm_accounting.py.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # for who runs this file

from tests.real import slurm_user

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

pytest_plugins = ["tests.real.slurm_place"]

PROGRAMS: Final = ("slurmctld", "slurmd", "munged", "sbatch", "squeue", "scancel", "scontrol")
NODES: Final = ("n1", "n2")
CONTROLLER: Final = "slurm"  # the user that Debian's package makes
_PR_SET_PDEATHSIG: Final = 1
_SBIN: Final = "/usr/sbin"

_CONF: Final = """\
ClusterName=repxtest
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={root}/munge.socket,cred_expire=5
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool.%n
SlurmctldPidFile={root}/slurmctld.pid
SlurmdPidFile={root}/slurmd.%n.pid
SlurmctldLogFile={root}/slurmctld.log
SlurmdLogFile={root}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,batch_sched_delay=0
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=100
ReturnToService=2
MpiDefault=none
KillWait=30
SlurmdParameters=config_overrides
NodeName=n[1-2] NodeHostname=localhost NodeAddr=127.0.0.1 Port=[{ports[1]}-{ports[2]}] \
CPUs=8 RealMemory=8000 State=UNKNOWN
PartitionName=main Nodes=n[1-2] Default=YES MaxTime=INFINITE State=UP OverSubscribe=YES
"""


class Cluster:
    """One running cluster. ``settings`` are lines of slurm.conf that a test adds or replaces."""

    def __init__(self, root: Path) -> None:
        """Prepare the folder; nothing runs yet."""
        self.root = root
        self._always: dict[str, object] = {}
        self._settings: dict[str, object] = {}
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}
        self._ports = _free_ports()
        self.env = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("SLURM", "SBATCH"))},
            "SLURM_CONF": str(root / "slurm.conf"),
            "PATH": f"{os.environ.get('PATH', '')}:{_SBIN}",
        }
        (root / "state").mkdir()
        root.chmod(0o755)  # for every user: the configuration, the socket of munge
        for path in (root, root / "state"):  # for the controller: its state, its log
            shutil.chown(path, CONTROLLER, CONTROLLER)
        key = root / "munge.key"
        key.write_bytes(secrets.token_bytes(64))
        key.chmod(0o400)

    def start(self) -> None:
        """Start munged, the controller and both nodes, and wait until the nodes are idle."""
        self._write_conf()
        self._start_munge()
        self._start_accounting()
        self.start_controller()
        for node in NODES:
            self.start_node(node)
        self.wait_for_nodes()

    def stop(self) -> None:
        """Take down every job and daemon."""
        with contextlib.suppress(subprocess.SubprocessError):
            self._cancel_all()
        for name in reversed(tuple(self._daemons)):
            self._end(name)
        _kill_below(self.root)

    def configure(self, **settings: object) -> None:
        """Restart the controller with these settings, and no memory of jobs that have ended."""
        if settings == self._settings:
            return
        self._settings = dict(settings)
        self.stop_controller()
        self._write_conf()
        self.start_controller("-c")
        self.wait_for_nodes()

    def start_controller(self, *options: str) -> None:
        """Start the controller; its state survives a stop, unless ``-c`` clears it."""
        self._spawn("slurmctld", [f"{_SBIN}/slurmctld", "-D", *options])
        self.wait(lambda: self.sh("scontrol", "ping", check=False).returncode == 0)

    def stop_controller(self) -> None:
        """Stop the controller; the nodes and what runs on them live on."""
        self._end("slurmctld")

    def start_node(self, node: str) -> None:
        """Start one node's daemon."""
        self._spawn(f"slurmd.{node}", [f"{_SBIN}/slurmd", "-D", "-N", node])

    def kill_node(self, node: str) -> None:
        """Let a node die as by a power cut: its daemon and every process of its jobs."""
        self.kill_daemon(node)
        _kill_steps(node, self.root)
        self.sh("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=killed")

    def kill_daemon(self, node: str) -> None:
        """Kill a node's daemon alone; its jobs live on."""
        daemon = self._daemons.pop(f"slurmd.{node}")
        daemon.kill()
        daemon.wait()

    def revive_node(self, node: str) -> None:
        """Start a killed node again and put it back into service."""
        self.start_node(node)
        self.sh("scontrol", "update", f"NodeName={node}", "State=RESUME", check=False)
        self.wait_for_nodes()

    def wait_for_nodes(self) -> None:
        """Wait until every node takes jobs."""
        good = ("idle", "mixed", "allocated")
        self.wait(
            lambda: (
                all(
                    state in good
                    for state in self.sh(
                        "sinfo", "-h", "-N", "-o", "%T", check=False
                    ).stdout.split()
                )
                and bool(self.sh("sinfo", "-h", "-N", "-o", "%T", check=False).stdout.split())
            )
        )

    def sh(self, *argv: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run one command against this cluster."""
        return subprocess.run(
            argv, env=self.env, check=check, text=True, capture_output=True, timeout=60
        )

    def queue(self) -> list[str]:
        """Return ``id state`` of each job that has not ended, arrays one line per element."""
        answer = self.sh("squeue", "--noheader", "--array", "--format=%i %T", check=False)
        return answer.stdout.splitlines()

    def drain(self, timeout_s: float = 90) -> None:
        """Wait until no job is left."""
        self.wait(lambda: not self.queue(), timeout_s)

    def empty(self) -> None:
        """Cancel whatever is left, and wait until it is gone."""
        if self.queue():
            self._cancel_all()
            self.drain()

    def _cancel_all(self) -> None:
        found = self.sh("squeue", "--noheader", "--format=%A", check=False).stdout.split()
        if found:
            self.sh("scancel", *found, check=False)

    def wait(self, ready: Callable[[], bool], timeout_s: float = 60) -> None:
        """Look every 0.1 s until something is so; TimeoutError with queue and logs when never."""
        deadline = time.monotonic() + timeout_s
        while not ready():
            if time.monotonic() > deadline:
                raise TimeoutError("\n".join([*self.queue(), *self._logs()]))
            time.sleep(0.1)

    def _logs(self) -> Iterator[str]:
        for log in sorted(self.root.glob("*.log")):
            yield f"{log.name}: {log.read_text(errors='replace')[-3000:]}"

    def _write_conf(self) -> None:
        text = _CONF.format(root=self.root, ports=self._ports, user=CONTROLLER)
        settings = self._always | self._settings
        kept = [line for line in text.splitlines() if line.partition("=")[0] not in settings]
        added = [f"{name}={value}" for name, value in settings.items()]
        (self.root / "slurm.conf").write_text("\n".join([*kept, *added, ""]))

    def _start_munge(self) -> None:
        files = {"key-file": "munge.key", "socket": "munge.socket", "pid-file": "munged.pid"}
        files |= {"log-file": "munged.log", "seed-file": "munged.seed"}
        options = [f"--{option}={self.root / name}" for option, name in files.items()]
        self._spawn("munged", [f"{_SBIN}/munged", "--foreground", "--force", *options])
        self.wait((self.root / "munge.socket").exists)

    def _start_accounting(self) -> None:
        """Do nothing: this cluster has none; tests/real/slurm_accounting.py has one that does."""

    def _spawn(self, name: str, argv: Sequence[str]) -> None:
        with (self.root / f"{name}.out").open("ab") as output:
            self._daemons[name] = subprocess.Popen(
                argv,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self.root,
                start_new_session=True,
                preexec_fn=_die_with_parent,  # noqa: PLW1509  # calls prctl, nothing of Python's
            )

    def _end(self, name: str) -> None:
        daemon = self._daemons.pop(name, None)
        if daemon is None:
            return
        daemon.terminate()
        try:
            daemon.wait(timeout=15)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()


@pytest.fixture(scope="session")
def slurm() -> Iterator[Cluster]:
    """Give the session's cluster; a test that uses it is marked `slurm`."""
    with running() as cluster:
        yield cluster


@contextlib.contextmanager
def running(kind: type[Cluster] = Cluster) -> Iterator[Cluster]:
    """Give a fresh cluster and take it away again, whatever happens."""
    # Below /tmp whatever TMPDIR says: the path of a Unix socket is at most 107 bytes long.
    root = Path(tempfile.mkdtemp(prefix="repx-slurm-", dir="/tmp"))
    cluster = kind(root)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(root, ignore_errors=True)


def missing() -> str | None:
    """Return why no cluster can be started here, or None."""
    if os.geteuid() != 0:
        return "a private Slurm needs root"
    path = f"{os.environ.get('PATH', '')}:{_SBIN}"
    absent = [program for program in PROGRAMS if shutil.which(program, path=path) is None]
    return f"not installed: {', '.join(absent)}" if absent else None


def _free_ports() -> tuple[int, int, int, int]:
    """Return free ports: of the controller, two adjacent ones of the nodes, of accounting."""
    while True:
        with contextlib.ExitStack() as held, contextlib.suppress(OSError):
            first = _bind(held, 0)
            second = _bind(held, 0)
            return first, second, _bind(held, second + 1), _bind(held, 0)


def _bind(held: contextlib.ExitStack, port: int) -> int:
    listener = held.enter_context(socket.socket())
    listener.bind(("127.0.0.1", port))
    return int(listener.getsockname()[1])


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _processes() -> Iterator[tuple[int, str, Mapping[str, str]]]:
    """Yield pid, command line and environment of each process that can be read."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode("latin-1")
                raw = (entry / "environ").read_bytes().decode("latin-1").split("\0")
                yield int(entry.name), command, dict(v.split("=", 1) for v in raw if "=" in v)


def _kill_steps(node: str, root: Path) -> None:
    """Kill what one node of this cluster runs, step daemons and their jobs' processes, at once.

    All are stopped first, daemons before jobs, so that none sees another one die and tells of it.
    """
    conf = str(root / "slurm.conf")
    jobs = [
        pid
        for pid, _, environment in _processes()
        if environment.get("SLURM_CONF") == conf and environment.get("SLURMD_NODENAME") == node
    ]
    # A step daemon writes its title over its environment: it is known by its children.
    parents = {_parent(pid) for pid in jobs}
    daemons = [pid for pid in parents if "slurmstepd" in _name(pid)]
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in (*daemons, *jobs):
            _kill(pid, number)


def _parent(pid: int) -> int:
    """Return the id of a process's parent, 0 when it has ended."""
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return 0


def _name(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text()
    return ""


def _kill_below(root: Path) -> None:
    """Kill every process that still belongs to this cluster."""
    conf = str(root / "slurm.conf")
    for pid, _, environment in _processes():
        if pid != os.getpid() and environment.get("SLURM_CONF") == conf:
            _kill(pid)


def _kill(pid: int, number: int = signal.SIGKILL) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def main(argv: Sequence[str], kind: type[Cluster] = Cluster) -> int:
    """Run a command (a shell, when none is given) with a cluster around it.

    After ``--ordinary`` it runs as a user who may change nothing in the cluster.
    """
    reason = missing()
    if reason is not None:
        sys.stderr.write(f"error: {reason}\n")
        return 3
    ordinary = argv[:1] == ["--ordinary"]
    command = [word for word in argv[ordinary:] if word != "--"] or [
        os.environ.get("SHELL", "bash")
    ]
    with running(kind) as cluster:
        words = slurm_user.words(tuple(command)) if ordinary else command
        return subprocess.run(words, env=cluster.env, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
