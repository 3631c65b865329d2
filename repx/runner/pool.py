"""Workers (worker.py), each with one unit at a time."""

from __future__ import annotations

import contextlib
import json
import os
import sys

from repx.runner import locks
from repx.runner.signals import WATCHED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, Final

START: Final = os.path.join(os.path.dirname(os.path.realpath(__file__)), "start.py")


class WorkerPool:
    """The workers of one submission folder, started as needed. Mutable.

    A worker takes the lock of each job that it gets. A job whose units share one lock has its own
    workers, which inherit the lock when they start.
    """

    def __init__(self, folder: str, base: str, log: int) -> None:
        """Run units of ``folder`` in the store ``base``; the workers' stderr goes to ``log``."""
        self.command = [sys.executable, "-I", "-S", START, "--worker", folder, base]
        self.log = log
        self.answers, self.answer_to = os.pipe()
        os.set_blocking(self.answers, False)
        self.pipes: dict[int, int] = {}  # by pid: a worker reads assignments from its pipe
        self.lock_of: dict[int, int | None] = {}
        self.idle: dict[int | None, list[int]] = {}
        self.half_line = b""

    def assign(self, words: list[str], lock: int | None) -> int:
        """Give a unit to a worker; return its pid. Raises OSError."""
        message = b"\0".join(map(os.fsencode, words))
        idle = self.idle.get(lock)
        while idle:
            pid = idle.pop()
            with contextlib.suppress(BrokenPipeError):  # the worker was killed
                os.write(self.pipes[pid], message)
                return pid
        pid = self._spawn(lock)
        os.write(self.pipes[pid], message)
        return pid

    def _spawn(self, lock: int | None) -> int:
        theirs, ours = os.pipe()
        actions = [
            (os.POSIX_SPAWN_DUP2, theirs, 0),
            (os.POSIX_SPAWN_DUP2, self.answer_to, 1),
            (os.POSIX_SPAWN_DUP2, self.log, 2),
        ]
        if lock is not None:
            actions.append((os.POSIX_SPAWN_DUP2, lock, locks.DESCRIPTOR))
        try:
            pid = os.posix_spawn(
                self.command[0],
                [*self.command, *(["locked"] if lock is not None else [])],
                os.environ,
                file_actions=actions,
                setsid=True,
                setsigmask=WATCHED,  # a worker waits for these with sigwait
            )
        except OSError:
            os.close(ours)
            raise
        finally:
            os.close(theirs)
        self.pipes[pid], self.lock_of[pid] = ours, lock
        return pid

    def read_answers(self) -> Iterator[dict[str, Any]]:
        """Yield the answers of workers."""
        try:
            received = self.half_line + os.read(self.answers, 1 << 16)
        except BlockingIOError:
            return
        *lines, self.half_line = received.split(b"\n")
        yield from map(json.loads, lines)

    def release(self, pid: int) -> None:
        """Note that a worker is idle."""
        self.idle.setdefault(self.lock_of[pid], []).append(pid)

    def close(self, pid: int) -> None:
        """Close a worker's pipe, which lets the worker end; forget the worker."""
        pipe = self.pipes.pop(pid, None)
        if pipe is None:
            return
        os.close(pipe)
        idle = self.idle.get(self.lock_of.pop(pid), [])
        if pid in idle:
            idle.remove(pid)

    def close_all(self, lock: int | None) -> None:
        """Let the idle workers with a lock end, and wait until they no longer hold the lock."""
        leaving = list(self.idle.pop(lock, ()))
        for pid in leaving:
            self.close(pid)
        for pid in leaving:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)
