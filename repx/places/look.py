"""One look at a store: all that tells how jobs are, in one answer. Standard library only."""

from typing import TYPE_CHECKING

from repx.places import closed
from repx.places.walk import SUBMISSIONS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from repx.places.tree import Tree

FAIL = "FAIL"
STALE = "stale"
AGENT = ("agent.lock", "plan.json", "events.jsonl")
DIALECT = "dialect.json"
BATCH = ("batch.tsv", "ids.tsv", "forced")
TABLES = ("arrays.tsv", "cluster", "forced", "unseen", "tries.tsv")
# Keys of no file: the last line of events, and whether nothing happens any more.
LAST_EVENT = "events.jsonl: last line"
QUIET = "quiet"


class Seen:
    """What a look saw. Mutable while it looks.

    ``names`` are those of folders, ``contents`` those of files (None: there is none), ``problems``
    tell why others cannot be read. ``held`` tells of lock files whether a process has them, and
    ``there`` of those that none has whether they exist. ``marks`` are markers by job, and
    ``unread`` says why others cannot be read. ``batches``: a batch system may have jobs.
    """

    def __init__(self, tree: "Tree") -> None:
        """Look at the files of a tree."""
        self._tree = tree
        self.names = {}  # type: dict[str, list[str]]
        self.contents = {}  # type: dict[str, bytes | None]
        self.problems = {}  # type: dict[str, str]
        self.held = {}  # type: dict[str, bool]
        self.there = {}  # type: dict[str, tuple[str, int]]
        self.marks = {}  # type: dict[str, str]
        self.unread = {}  # type: dict[str, str]
        self.batches = False

    def told(self) -> "tuple[object, ...]":
        """Return everything that was seen, in the order of the names above."""
        locks = (self.held, self.there)
        return (self.names, self.contents, self.problems, *locks, self.marks, self.unread)

    def jobs(self, jobs: "Iterable[str]") -> None:
        """Look at markers, at what failures say, and at the locks of what has begun."""
        begun = set(self._list("outputs"))
        wanted = [job for job in jobs if job in begun]
        self.marks = self._tree.markers(wanted)[0]
        unmarked = [job for job in wanted if job not in self.marks]
        locks = {job: f"outputs/{job}/repx/lock" for job in unmarked}
        self._locks(locks.values())
        self._read([lock for lock in locks.values() if self.held[lock]])
        # A job may have ended between the look at its marker and the look at its lock.
        ended = [job for job in unmarked if not self.held[locks[job]]]
        again, self.unread = self._tree.markers(ended)
        self.marks.update(again)
        failed = [job for job, name in self.marks.items() if name == FAIL]
        self._read([f"outputs/{job}/repx/{FAIL}" for job in failed])

    def submissions(self) -> None:
        """Look at the submissions that are not closed, and at the record of those that are."""
        self._read([closed.RECORD, *(f"{STALE}/{name}" for name in self._list(STALE))])
        for name in self._list(SUBMISSIONS):
            if not name.startswith("."):
                self._submission(f"{SUBMISSIONS}/{name}")

    def _submission(self, folder: str) -> None:
        lock = f"{folder}/agent.lock"
        self._locks([lock])
        submitted, ended = f"{folder}/submitted.tsv", f"{folder}/ended"
        self._read([submitted, ended, f"{folder}/{DIALECT}"])
        quiet = closed.is_quiet(self._tree, folder.partition("/")[2])
        self.contents[f"{folder}/{QUIET}"] = b"yes" if quiet else None
        self.contents[f"{folder}/{LAST_EVENT}"] = None
        if self.held[lock]:
            self._read([f"{folder}/{name}" for name in AGENT])
        elif lock in self.there:
            last = self._tree.ending(f"{folder}/events.jsonl", 1)[2]
            self.contents[f"{folder}/{LAST_EVENT}"] = last
        if self.contents[f"{folder}/{DIALECT}"] is not None:
            self._read([f"{folder}/{name}" for name in BATCH])
            self.batches |= self.contents[f"{folder}/ids.tsv"] is not None
        begun = self.contents[submitted]
        over = b"%d\n" % len(begun or b"")
        if begun is not None and not (self.contents[ended] or b"").startswith(over):
            self.batches = True
            children, again = (self._list(f"{folder}/{name}") for name in ("children", "again"))
            self._list(f"{folder}/logs")
            bundles = self._list(f"{folder}/bundles")
            self._read(
                [
                    *(f"{folder}/{name}" for name in TABLES),
                    *(f"{folder}/children/{name}" for name in children),
                    *(f"{folder}/again/{name}" for name in again),
                    *(f"{folder}/bundles/{name}/events.jsonl" for name in bundles),
                ]
            )

    def _list(self, key: str) -> "list[str]":
        self.names[key] = self._tree.names(key)
        return self.names[key]

    def _locks(self, keys: "Iterable[str]") -> None:
        asked = list(keys)
        held = set(self._tree.locked(asked))
        self.held.update((key, key in held) for key in asked)
        self.there.update(self._tree.kinds([key for key in asked if key not in held]))

    def _read(self, keys: "list[str]") -> None:
        contents, problems = self._tree.read_many(keys)
        self.contents.update(dict.fromkeys(keys))
        self.contents.update(contents)
        self.problems.update(problems)


def look(
    tree: "Tree", jobs: "Iterable[str]", asked: "Sequence[tuple[Sequence[str], float]]"
) -> "tuple[tuple[object, ...], list[tuple[int, str, str]]]":
    """Return what one look at a store sees of these jobs and of all live submissions.

    The batch system is asked before markers are looked at: what it has forgotten by then has left
    its marker.
    """
    seen = Seen(tree)
    seen.submissions()
    answers = tree.ask(asked) if tree.ask and seen.batches else []
    seen.jobs(jobs)
    return seen.told(), answers
