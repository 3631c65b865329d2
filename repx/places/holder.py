"""The process that holds a lock file, and a signal for it if it is ours. Standard library only.

A lock file's content, ``HOST PID``, is anybody's who may write to the store. What is signalled is
therefore looked at first: whose it is, since when it runs, and what it was started with.
"""

import os
import re
import signal

_SLACK_S = 2  # start times are known to a hundredth of a second, and clocks are stepped
_PID = re.compile(r"[1-9][0-9]{0,6}\Z")
_START_FIELD = 19  # of /proc/PID/stat, counted behind the command in parentheses

ELSEWHERE = "elsewhere"
FOREIGN = "foreign"
GONE = "gone"
SENT = "sent"


def signal_holder(lock: str, argument: str, number: int) -> "tuple[str, str]":
    """Send a signal to the process of ours that wrote a lock file; say what became of it.

    ``argument`` is a path that the process was started with. Returns SENT, FOREIGN (it is not
    ours), ELSEWHERE (on another host) or GONE, and the host that the file names.
    """
    try:
        with open(lock, encoding="utf-8", errors="replace") as file:
            host, _, word = file.read(1024).strip().rpartition(" ")
        written = os.stat(lock).st_mtime
    except OSError:
        return GONE, ""
    if host != os.uname().nodename:
        return ELSEWHERE, host
    if not _PID.match(word) or int(word) == 1:
        return FOREIGN, host
    return _signal(int(word), argument, written, number), host


def _signal(pid: int, argument: str, written: float, number: int) -> str:
    """Open the process before looking at it, so that no other one gets the signal meanwhile."""
    opened = -1
    try:
        if hasattr(os, "pidfd_open"):
            opened = os.pidfd_open(pid)
        if not _is_ours(pid, argument, written):
            return FOREIGN
        if opened >= 0:
            signal.pidfd_send_signal(opened, number)
        else:
            os.kill(pid, number)
    except (ProcessLookupError, FileNotFoundError):
        return GONE
    except OSError:
        return FOREIGN
    else:
        return SENT
    finally:
        if opened >= 0:
            os.close(opened)


def _is_ours(pid: int, argument: str, written: float) -> bool:
    if os.stat(f"/proc/{pid}").st_uid != os.geteuid():
        return False
    with open(f"/proc/{pid}/cmdline", "rb") as file:
        words = file.read().split(b"\0")
    folder = os.readlink(os.fsencode(f"/proc/{pid}/cwd"))
    wanted = os.path.realpath(os.fsencode(argument))
    if all(os.path.realpath(os.path.join(folder, word)) != wanted for word in words if word):
        return False
    return _started(pid) <= written + _SLACK_S


def _started(pid: int) -> float:
    """Return when a process started, in seconds since the epoch."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        ticks = int(file.read().rpartition(b")")[2].split()[_START_FIELD])
    with open("/proc/stat", "rb") as file:
        booted = next(int(line.split()[1]) for line in file if line.startswith(b"btime"))
    return booted + ticks / os.sysconf("SC_CLK_TCK")
