"""A machine reached by the user's own ssh as a place: one connection, one authentication."""

from __future__ import annotations

import dataclasses
import shlex
import time
from functools import partialmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

from repx.address import destination
from repx.errors import CommandError, CommandNotFoundError, InputError
from repx.places import command, shared
from repx.places.channel import REMOTE, Channel
from repx.places.command import Completed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from repx.places import Answered, Asked, Files, Outgoing, Process, Question
    from repx.places.carry import Rest
    from repx.target import Target

T = TypeVar("T")

_LATE: Final = 124
_NOT_FOUND: Final = 127
# A frozen connection is given up after a minute. Ports that the user's configuration forwards stay
# free for the user's own sessions.
_OPTIONS: Final = (
    *("-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=4"),
    *("-o", "ClearAllForwardings=yes"),
)


# How long a question for news may stay unanswered while there are none.
_PATIENCE_S: Final = 20
# So long a command's connection is kept that a terminal is opened over, too.
_BRIEFLY: Final = "1m"


def words(target: Target) -> list[str]:
    """Return the ssh command line up to the destination."""
    config = ["-F", target.ssh_config] if target.ssh_config else []
    return ["ssh", *config, *_OPTIONS]


class Ssh:
    """A machine and a connection to it, which begins with the first question."""

    def __init__(self, target: Target) -> None:
        """Name the machine; nothing is asked yet."""
        self.name = target.address or ""
        self._target = target
        self._ssh = words(target)
        self.shared: Final = shared.Shared(target, self._ssh)
        paths = [target.base_path, target.node_local_path or "", *target.mount_paths]
        self.channel: Final = Channel(lambda: self._argv("-T", REMOTE), paths, self.name)

    def _argv(self, *last: str) -> list[str]:
        """Return a call of ssh: options after the destination are none of ssh's."""
        option, *remote = last
        return [*self._ssh, *self.shared.options(), option, *destination(self.name), *remote]

    @property
    def root(self) -> str:
        """Return the store's folder, with ``~`` and variables as they are there.

        Raises InputError where that gives no absolute path.
        """
        return self._there("base_path", 0)

    def settled(self, target: Target) -> Target:
        """Return a target with every path of the profile as it is there."""
        local = None if target.node_local_path is None else self._there("node_local_path", 1)
        mounts = (self._there("mount_paths", 2 + at) for at in range(len(target.mount_paths)))
        return dataclasses.replace(
            target, base_path=self.root, node_local_path=local, mount_paths=tuple(mounts)
        )

    def _there(self, key: str, at: int) -> str:
        path = str(self.channel.introduction["expanded"][at])
        if path.startswith("/") and "${" not in path:
            return path
        raise InputError(
            f"{key}: '{path}' on {self.name}: a variable is not set there, or the path is not"
            " absolute",
            hint="write the whole path, or one with ~/ or ${HOME}",
        )

    @property
    def python(self) -> str:
        """Return a python3 there that the local scheduler can use.

        Raises CommandNotFoundError where there is none that is new enough.
        """
        said = self.channel.introduction
        if said["newer"]:
            return str(said["newer"])
        version = ".".join(map(str, said["version"]))
        raise CommandNotFoundError(
            f"python3 on {self.name} is {version}; the local scheduler needs 3.9 or newer there",
            hint="load its module in your login shell's start-up file there, or use a batch"
            " system: `scheduler: slurm` works with 3.6",
        )

    @property
    def user(self) -> str:
        """Return the account's name there."""
        return str(self.channel.introduction["user"])

    def files(self, root: str, share: str = "") -> Files:
        """Return the files below a folder there."""
        return FarFiles(self.channel, root, share)

    def run(
        self,
        argv: Sequence[str],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        stdin: str | None = None,
        timeout_s: float = 60,
        check: bool = True,
    ) -> Completed:
        """Run a command to its end."""
        folder = None if cwd is None else str(cwd)
        code, out, err = self.channel.ask("run", list(argv), folder, env, stdin, timeout_s)
        if code == _NOT_FOUND and not out and not err:
            raise CommandNotFoundError(
                f"`{argv[0]}` is not installed or not on PATH of {self.name}",
                hint=f"install `{argv[0]}` there, or load its module in your login shell",
            )
        if code == _LATE and err.startswith("no answer"):
            raise CommandError(argv, code, err)
        if check and code != 0:
            raise CommandError(argv, code, err)
        return Completed(code=code, stdout=out, stderr=err)

    def ask(self, questions: Sequence[Question[T]]) -> list[T]:
        """Return the answers to all questions, in one round trip."""
        asked = [(list(question.words), question.timeout_s) for question in questions]
        answers = self.channel.ask("ask", asked, again=True)
        return [
            question.read(Completed(code=code, stdout=out, stderr=err))
            for question, (code, out, err) in zip(questions, answers, strict=True)
        ]

    def spawn(
        self, words: Sequence[str], *, output: str, cwd: str, more_env: Mapping[str, str]
    ) -> Process:
        """Start a process there that outlives the connection."""
        pid = self.channel.ask("spawn", list(words), output, cwd, dict(more_env))
        return FarProcess(self.channel, pid)

    def close(self) -> None:
        """End the connection; the next question begins another."""
        self.channel.close()

    def share(self) -> None:
        """Let ``become`` use this command's connection, so that the user authenticates once."""
        if not self.shared.is_open() and not shared.is_configured(self._target, self._ssh):
            self.shared.open(_BRIEFLY)

    def become(self, words: Sequence[str], *, cwd: str, more_env: Mapping[str, str]) -> NoReturn:
        """Become ssh with a terminal there."""
        given = [f"{name}={value}" for name, value in more_env.items()]
        line = f"cd {shlex.quote(cwd)} && exec env {shlex.join([*given, *words])}"
        self.close()  # a server may allow one session at a time
        argv = self._argv("-t", f"exec sh -c {shlex.quote(line)}")
        command.replace(argv, cwd=Path.cwd(), more_env={})

    def signal(self, lock: str, argument: str, number: int) -> tuple[str, str]:
        """Send a signal to the process of ours that holds a lock file there."""
        done, host = self.channel.ask("signal", lock, argument, number)
        return str(done), str(host)


class FarProcess:
    """A process that was started there; after a broken connection nothing is known of it."""

    def __init__(self, channel: Channel, pid: int) -> None:
        """Name the process."""
        self._channel = channel
        self.pid = pid

    def poll(self) -> int | None:
        """Return its exit code, None while it runs."""
        code = self._channel.ask("poll", self.pid, again=True)
        return None if code is None else int(code)

    def rest(self, seconds: float) -> None:
        """Sleep for a while, in which news gather: each question for them takes a round trip."""
        time.sleep(max(seconds, _LEAST_REST_S))

    def interrupt(self) -> None:
        """Send it SIGINT."""
        self._channel.interject("interrupt", self.pid)


_LEAST_REST_S: Final = 0.5


class FarFiles:
    """The files below a folder there: each verb is asked as it is done here."""

    def __init__(self, channel: Channel, root: str, share: str) -> None:
        """Name the folder."""
        self._channel = channel
        self._tree: dict[str, Any] = {"root": root, "share": share}

    def _ask(self, verb: str, *arguments: Any) -> Any:  # noqa: ANN401  # as the verb has it
        return self._channel.ask(verb, *arguments, again=True, **self._tree)

    names = partialmethod(_ask, "names")
    part = partialmethod(_ask, "part")
    glob = partialmethod(_ask, "glob")
    sizes = partialmethod(_ask, "sizes")
    locked = partialmethod(_ask, "locked")
    holds = partialmethod(_ask, "holds")
    kept = partialmethod(_ask, "kept")
    link_many = partialmethod(_ask, "link_many")
    name_many = partialmethod(_ask, "name_many")
    remove = partialmethod(_ask, "remove")
    close_submissions = partialmethod(_ask, "close_submissions")
    tables = partialmethod(_ask, "tables")
    tidy = partialmethod(_ask, "tidy")

    def kinds(self, keys: Sequence[str]) -> Mapping[str, tuple[str, int]]:
        """Return for each key that names anything what it is, and its size in bytes."""
        return {key: (kind, size) for key, (kind, size) in self._ask("kinds", keys).items()}

    def markers(self, jobs: Iterable[str]) -> tuple[dict[str, str], dict[str, str]]:
        """Return SUCCESS or FAIL for each job that has a marker; why others cannot be read."""
        found, problems = self._ask("markers", list(jobs))
        return found, problems

    def look(self, jobs: Iterable[str], asked: Sequence[Asked]) -> tuple[Any, list[Answered]]:
        """Return what one look sees, and what the batch system answers for live jobs."""
        seen, answers = self._ask("look", list(jobs), asked)
        return seen, answers

    def read_many(self, keys: Sequence[str]) -> tuple[dict[str, bytes], dict[str, str]]:
        """Return the contents of the files that exist, and why others cannot be read."""
        contents, problems = self._ask("read_many", keys)
        return contents, problems

    def chunks(self, key: str) -> Iterator[bytes]:
        """Yield a file's content piece by piece."""
        return self._channel.chunks(**self._tree, **{"with": [key]})

    def listing(self, folders: Iterable[str]) -> dict[str, tuple[int, int]]:
        """Return mode and size of what is in folders of jobs."""
        found = self._ask("listing", list(folders))
        return {key: (mode, size) for key, (mode, size) in found.items()}

    def fetch(
        self, keys: Sequence[str], begun: Mapping[str, tuple[int, str]]
    ) -> Iterator[tuple[str, int, Rest]]:
        """Yield each file that exists: its key, its mode, and the rest of it."""
        return self._channel.fetch(**self._tree, **{"with": [list(keys), begun]})

    def begun(self, sizes: Mapping[str, int]) -> dict[str, tuple[int, str]]:
        """Return what is there of files that will have these sizes."""
        found = self._ask("begun", sizes)
        return {key: (size, sha256) for key, (size, sha256) in found.items()}

    def receive(self, how: str, files: Iterable[Outgoing]) -> tuple[int, list[str]]:
        """Write the files of jobs, each job's marker last."""
        total, passed = self._channel.give("receive", how, files, **self._tree)
        return total, passed

    def tail(self, key: str, inode: int, offset: int) -> tuple[int, int, bytes]:
        """Return the file's inode, where the rest of it begins, and the rest."""
        found, start, content = self._ask("tail", key, inode, offset)
        return found, start, content

    def ending(self, key: str, lines: int) -> tuple[int, int, bytes]:
        """Return the file's inode, its size and its last lines."""
        inode, size, content = self._ask("ending", key, lines)
        return inode, size, content

    def grown(
        self, key: str, at: tuple[int, int], lock: str, pid: int = 0
    ) -> tuple[bool, int, int, bytes]:
        """Return what has come to a file, and whether its writer has ended; wait for either."""
        over, inode, start, content = self._ask("grown", key, at, lock, pid, _PATIENCE_S)
        return over, inode, start, content

    def write_many(self, files: Iterable[Outgoing]) -> int:
        """Write files, each whole or not at all; return how many bytes."""
        return int(self._channel.give("write_many", None, files, **self._tree))

    def write_new(self, folder: str, files: Iterable[tuple[str, int, bytes]]) -> None:
        """Make a folder, all of it or nothing."""
        outgoing = ((key, mode, content, "") for key, mode, content in files)
        self._channel.give("write_new", folder, outgoing, **self._tree)

    def append(self, key: str, content: bytes) -> None:
        """Add to the end of a file, which is made if need be."""
        self._channel.ask("append", key, content, **self._tree)
