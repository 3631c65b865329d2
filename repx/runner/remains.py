"""Find and end the processes that a unit has started and left behind.

There are two ways to find them. A process that runs one unit at a time becomes the parent of all
orphans of the unit (a child subreaper, prctl(2)): one system call tells whether there are any. If
the runner itself was killed, or was bash, every process of a unit still has ``REPX_UNIT``, the
unit's folder and attempt, in its environment: ``/store/outputs/<job>#1#``.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Final

VARIABLE: Final = b"REPX_UNIT"
AFTER_KILL_S: Final = 2.0  # after this time, a killed process counts as one that cannot be ended
SHOWN: Final = 5  # processes named in a message
LOOK_EVERY_S: Final = 0.05
PR_SET_CHILD_SUBREAPER: Final = 36
PARENT, SESSION = 1, 3  # fields of /proc/PID/stat, counted after the name


def adopt_orphans() -> None:
    """Become the parent of orphans among this process's descendants, where Linux supports it."""
    import ctypes

    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def mark(folder: bytes, attempt: int) -> bytes:
    """Return the value of ``REPX_UNIT`` for one attempt of a unit."""
    return b"%b#%d#" % (folder, attempt)


def children(pid: int) -> list[int]:
    """Return the children of a process; none when the process has ended."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children", "rb") as stream:
            return [int(word) for word in stream.read().split()]
    except OSError:  # the process has ended, or the kernel lacks this file
        return [each for each in _processes() if _field(each, PARENT) == pid]


def below(pid: int, spared: int = 0) -> list[int]:
    """Return all descendants of a process, without its first ``spared`` generations."""
    found = children(pid)
    for _ in range(spared):
        found = [child for each in found for child in children(each)]
    for each in found:  # grows inside the loop
        found += children(each)
    return found


def in_session(leader: int) -> list[int]:
    """Return the processes of the session of which ``leader`` is the leader."""
    return [pid for pid in _processes() if _field(pid, SESSION) == leader]


def marked(folder: bytes, *, parts: bool) -> list[int]:
    """Return the processes of this user that belong to the unit in a folder, or to its parts."""
    return [pid for pid, unit in units() if belongs(unit, folder, parts=parts)]


def units() -> Iterator[tuple[int, bytes]]:
    """Yield the processes of this user that belong to units, with their marks."""
    name = b"%b=" % VARIABLE
    for pid in _processes():
        for variable in _environment(pid):
            if variable.startswith(name):
                yield pid, variable[len(name) :]
                break


def belongs(unit: bytes, folder: bytes, *, parts: bool) -> bool:
    """Tell whether a mark belongs to the unit in a folder, or to one of its parts."""
    rest = unit[len(folder) :] if unit.startswith(folder) else b""
    return rest.startswith((b"#", b"/") if parts else b"#")


def holders(lock: str) -> list[int]:
    """Return the processes of this user that have a lock's file open."""
    try:
        wanted = os.stat(lock)
    except OSError:
        return []
    found = []
    for pid in _processes():
        with contextlib.suppress(OSError):
            if any(_same(f"/proc/{pid}/fd/{fd}", wanted) for fd in os.listdir(f"/proc/{pid}/fd")):
                found.append(pid)
    return found


def holder(lock: str, *, own: int) -> str:
    """Return the holder of a lock: host and process as its file says, and the command.

    If the named process has ended, return the processes that hold the lock now.
    """
    from repx.runner import locks

    said = locks.signature(lock)
    here = [pid for pid in holders(lock) if pid != own]
    signed = [pid for pid in here if said.endswith(f" {pid}")]
    return f"{said}; here: {named(signed or here)}" if here else said


def end(
    find: Callable[[], list[int]], grace_s: float, wait: Callable[[float], object]
) -> list[int]:
    """End the processes that ``find`` returns, with TERM, then KILL; return those that remain.

    KILL follows after ``grace_s``. ``wait`` sleeps up to the given seconds, and may wake earlier.
    """
    start = time.monotonic()
    told: set[int] = set()
    while True:
        left = [pid for pid in find() if _lives(pid)]
        waited = time.monotonic() - start
        if not left or waited > grace_s + AFTER_KILL_S:
            return left
        if waited > grace_s:
            tell(left, signal.SIGKILL)
        else:
            tell([pid for pid in left if pid not in told], signal.SIGTERM)
            told.update(left)
        wait(LOOK_EVERY_S)


def tell(pids: Iterable[int], number: int) -> None:
    """Send a signal to processes; some may have ended."""
    for pid in pids:
        with contextlib.suppress(OSError):
            os.kill(pid, number)


def named(pids: Iterable[int]) -> str:
    """Return processes for messages: ``4711 (sleep 600), 4712 (python3 x.py)``."""
    found = [f"{pid} ({_command(pid)})" for pid in pids]
    more = len(found) - SHOWN
    return ", ".join(found[:SHOWN]) + (f" and {more} more" if more > 0 else "")


def _command(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as stream:
            words = stream.read(120).replace(b"\0", b" ").strip()
    except OSError:
        return "?"
    text = words.decode(errors="replace")
    return "".join(c if c.isprintable() else "?" for c in text) or "?"


def _processes() -> Iterator[int]:
    """Yield the processes of this user except the current one."""
    user, own = os.geteuid(), os.getpid()
    for name in os.listdir("/proc") if os.path.isdir("/proc") else ():
        with contextlib.suppress(OSError):
            if name.isdigit() and int(name) != own and os.stat(f"/proc/{name}").st_uid == user:
                yield int(name)


def _environment(pid: int) -> list[bytes]:
    try:
        with open(f"/proc/{pid}/environ", "rb") as stream:
            return stream.read().split(b"\0")
    except OSError:
        return []


def _field(pid: int, place: int) -> int:
    """Return a number of proc(5)'s stat, counted after the name; -1 if the process has ended."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stream:
            return int(stream.read().rpartition(b")")[2].split()[place])
    except (OSError, IndexError, ValueError):
        return -1


def _same(path: str, wanted: os.stat_result) -> bool:
    try:
        return os.path.samestat(os.stat(path), wanted)
    except OSError:
        return False


def _lives(pid: int) -> bool:
    """Tell whether a process runs; zombies have ended, whoever their parent is."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stream:
            return stream.read().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    except (OSError, IndexError):
        return False
