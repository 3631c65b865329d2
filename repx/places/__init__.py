"""The contract of a place: where jobs run and their files lie.

A place starts commands and holds files. Whatever takes a round trip takes many at once, so that
the number of round trips does not grow with the number of jobs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, Generic, NoReturn, Protocol, TypeAlias, TypeVar

if TYPE_CHECKING:
    from pathlib import Path

    from repx.places.carry import Rest
    from repx.places.command import Completed
    from repx.target import Target

T = TypeVar("T")

# Key, mode, content, sha256 of the content (empty: any content will do).
Outgoing: TypeAlias = "tuple[str, int, BinaryIO | Rest | bytes, str]"
# A command line and how many seconds it may take; its exit code, output and errors.
Asked: TypeAlias = tuple[Sequence[str], float]
Answered: TypeAlias = tuple[int, str, str]
# Mode, size and sha256 that a file must have.
Facts: TypeAlias = tuple[int, int, str]


@dataclass(frozen=True, slots=True)
class Question(Generic[T]):
    """What to ask a place: a command line, and the pure function that reads its answer.

    The exit code is 127 where the program is missing, 124 where it did not answer in time.
    """

    words: Sequence[str]
    read: Callable[[Completed], T]
    timeout_s: float = 120


class Process(Protocol):
    """A process that outlives the client."""

    @property
    def pid(self) -> int:
        """Return its process id at its place."""

    def poll(self) -> int | None:
        """Return its exit code (negative: the signal), None while it runs."""

    def rest(self, seconds: float) -> None:
        """Sleep so long, or until the process has ended."""

    def interrupt(self) -> None:
        """Send it SIGINT; one that has ended is no error."""


class Files(Protocol):
    """The files below one folder: each call is one round trip, however many files it names.

    Keys are POSIX paths relative to the folder. Nothing is written through a link.
    ``repx.places.tree`` is the implementation, and says more. What fails raises OSError.
    """

    def names(self, key: str) -> list[str]:
        """Return the sorted names in a folder; nothing when there is no such folder."""

    def kinds(self, keys: Sequence[str]) -> Mapping[str, tuple[str, int]]:
        """Return for each key that names anything what it is, and its size in bytes."""

    def glob(self, patterns: Sequence[str]) -> list[str]:
        """Return the keys that match any of the patterns, sorted."""

    def sizes(self, keys: Sequence[str]) -> dict[str, int]:
        """Return the size of each file and link below the folders; links are not followed."""

    def markers(self, jobs: Iterable[str]) -> tuple[dict[str, str], dict[str, str]]:
        """Return SUCCESS or FAIL for each job that has a marker; why others cannot be read."""

    def look(self, jobs: Iterable[str], asked: Sequence[Asked]) -> tuple[Any, list[Answered]]:
        """Return what ``repx.places.look`` sees of these jobs and of all live submissions.

        And what the batch system answers to ``asked`` where it may have jobs, in the same trip.
        """

    def locked(self, keys: Sequence[str]) -> list[str]:
        """Return the keys of lock files that a process holds."""

    def read_many(self, keys: Sequence[str]) -> tuple[dict[str, bytes], dict[str, str]]:
        """Return the contents of the files that exist, and why others cannot be read."""

    def listing(self, folders: Iterable[str]) -> dict[str, tuple[int, int]]:
        """Return mode and size of each file, link and empty folder in folders of jobs."""

    def fetch(
        self, keys: Sequence[str], begun: Mapping[str, tuple[int, str]]
    ) -> Iterator[tuple[str, int, Rest]]:
        """Yield each that exists: its key, its mode, and the rest of it, to be read at once.

        ``begun`` says what the receiver has: how many bytes, with which sum. Nothing else may be
        asked before the end.
        """

    def begun(self, sizes: Mapping[str, int]) -> dict[str, tuple[int, str]]:
        """Return what is there of files that will have these sizes, for ``fetch``."""

    def receive(self, how: str, files: Iterable[Outgoing]) -> tuple[int, list[str]]:
        """Write the files of jobs, each job's marker last; return the bytes, and who was not.

        ``how`` is one of ``repx.places.carry``: NEW, REPLACE, SOME.
        """

    def chunks(self, key: str) -> Iterator[bytes]:
        """Yield a file's content piece by piece."""

    def part(self, key: str, offset: int, size: int) -> bytes:
        """Return so many bytes of a file, fewer at its end."""

    def tail(self, key: str, inode: int, offset: int) -> tuple[int, int, bytes]:
        """Return the file's inode, where the rest of it begins, and the rest."""

    def ending(self, key: str, lines: int) -> tuple[int, int, bytes]:
        """Return the file's inode, its size and its last lines."""

    def grown(
        self, key: str, at: tuple[int, int], lock: str, pid: int = 0
    ) -> tuple[bool, int, int, bytes]:
        """Return whether a file's writer has ended, and what ``tail`` returns.

        Where asking takes a round trip, this waits a while for either. ``at`` is the inode and
        the position that were seen, ``pid`` the writer's process, if known, ``lock`` what the
        writer holds (``repx.places.growth``).
        """

    def holds(self, wanted: Mapping[str, Facts]) -> list[str]:
        """Return the keys whose file is as wanted."""

    def kept(self, wanted: Mapping[str, Facts]) -> Mapping[str, int]:
        """Return how many bytes are there of files whose sending broke off, for ``write_many``."""

    def write_many(self, files: Iterable[Outgoing]) -> int:
        """Write files, each whole or not at all; return how many bytes.

        A content with a ``start`` is the rest of what ``kept`` told.
        """

    def write_new(self, folder: str, files: Iterable[tuple[str, int, bytes]]) -> None:
        """Make a folder of ``(name below it, mode, content)``, all of it or nothing."""

    def append(self, key: str, content: bytes) -> None:
        """Add to the end of a file, which is made if need be."""

    def link_many(self, links: Mapping[str, str]) -> int:
        """Make symbolic links by key, those that are not there yet; return how many."""

    def name_many(self, names: Mapping[str, str]) -> None:
        """Give files further names by key (hard links); where that is impossible, copy them."""

    def remove(self, keys: Sequence[str]) -> None:
        """Remove files and folders with all they hold."""

    def close_submissions(self, submissions: Sequence[str], record: bytes) -> list[str]:
        """Close submissions that have ended (``repx.places.closed``); return which."""

    def tables(self, submission: str) -> dict[str, bytes]:
        """Return what is still asked of a closed submission, by its path there."""

    def tidy(self, limit_s: float) -> int:
        """Remove what was being written a day ago, and pack closed submissions."""


class Place(Protocol):
    """A machine, and how to reach it."""

    @property
    def name(self) -> str:
        """Return how a person calls it: empty for this machine, else the ssh destination."""

    @property
    def root(self) -> str:
        """Return the store's folder, an absolute path there."""

    @property
    def python(self) -> str:
        """Return a python3 there that the local scheduler can use.

        Raises CommandNotFoundError where there is none.
        """

    @property
    def user(self) -> str:
        """Return the name of the account there."""

    def settled(self, target: Target) -> Target:
        """Return a target with every path of its profile as it is there.

        Raises InputError for one that is not absolute there.
        """

    def files(self, root: str, share: str = "") -> Files:
        """Return the files below a folder; ``share`` is a key of ``repx.places.tree.MODES``."""

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
        """Run a command to its end; as ``repx.places.command.run``."""

    def ask(self, questions: Sequence[Question[T]]) -> list[T]:
        """Return the answers to all questions, in one round trip."""

    def spawn(
        self, words: Sequence[str], *, output: str, cwd: str, more_env: Mapping[str, str]
    ) -> Process:
        """Start a process that outlives this one, in a session of its own, without input.

        It gets ``more_env`` beside the place's environment and appends what it says to ``output``.
        """

    def become(self, words: Sequence[str], *, cwd: str, more_env: Mapping[str, str]) -> NoReturn:
        """Become another program at the place, with this terminal; does not return."""

    def share(self) -> None:
        """Let ``become`` do without an authentication of its own; before anything is asked."""

    def close(self) -> None:
        """End the connection, if there is one; the next question begins another."""

    def signal(self, lock: str, argument: str, number: int) -> tuple[str, str]:
        """Send a signal to the process of ours that holds a lock file.

        As ``repx.places.holder.signal_holder``, which returns what became of it.
        """


def of(target: Target) -> Place:
    """Return the place of a target. Nothing is asked of it yet."""
    if target.address is None:
        from repx.places import here

        return here.Here(target.base_path)
    from repx.places import ssh

    return ssh.Ssh(target)
