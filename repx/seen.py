"""A store after one look: seen files are answered from memory, the rest by the place."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar, cast

from repx import progress
from repx.places.command import Completed
from repx.places.walk import SUBMISSIONS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from repx.model import JobId
    from repx.places import Files, Place, Question
    from repx.store import Store

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class SeenFiles:
    """Files, some of which were seen by a look (``repx.places.look``).

    Other files, and all writes, go to ``files``.
    """

    files: Files
    jobs: frozenset[str]
    folders: Mapping[str, list[str]]
    contents: Mapping[str, bytes | None]
    problems: Mapping[str, str]
    held: Mapping[str, bool]
    there: Mapping[str, tuple[str, int]]
    marks: Mapping[str, str]
    unread: Mapping[str, str]

    def __getattr__(self, verb: str) -> Any:  # noqa: ANN401  # a verb of the files
        """Forward all other methods."""
        return getattr(self.files, verb)

    def names(self, key: str) -> list[str]:
        """Return the sorted names in a folder."""
        return self.folders[key] if key in self.folders else self.files.names(key)

    def kinds(self, keys: Sequence[str]) -> Mapping[str, tuple[str, int]]:
        """Return the kind and the size in bytes of each key that exists."""
        unseen = [key for key in keys if self.held.get(key) is not False]
        found = dict(self.files.kinds(unseen)) if unseen else {}
        return found | {key: self.there[key] for key in keys if key in self.there}

    def locked(self, keys: Sequence[str]) -> list[str]:
        """Return the keys of lock files that a process holds."""
        unseen = [key for key in keys if key not in self.held]
        found = set(self.files.locked(unseen)) if unseen else set[str]()
        return [key for key in keys if self.held.get(key) or key in found]

    def read_many(self, keys: Sequence[str]) -> tuple[dict[str, bytes], dict[str, str]]:
        """Return the contents of the files that exist, and the reasons for unreadable files."""
        unseen = [key for key in keys if key not in self.contents]
        contents, problems = self.files.read_many(unseen) if unseen else ({}, {})
        for key in keys:
            content = self.contents.get(key)
            if content is not None:
                contents[key] = content
            elif key in self.problems:
                problems[key] = self.problems[key]
        return contents, problems

    def markers(self, jobs: Iterable[str]) -> tuple[dict[str, str], dict[str, str]]:
        """Return SUCCESS or FAIL for each job with a marker; the reasons for unreadable ones."""
        asked = list(jobs)
        unseen = [job for job in asked if job not in self.jobs]
        found, problems = self.files.markers(unseen) if unseen else ({}, {})
        found |= {job: self.marks[job] for job in asked if job in self.marks}
        return found, problems | {job: self.unread[job] for job in asked if job in self.unread}


def closed(store: Store, name: str) -> Store:
    """Return a store with the files of a closed submission that are still needed, as before."""
    tables = store.files.tables(name)
    submission = name.removesuffix(".zip")
    home = f"{SUBMISSIONS}/{submission}"
    folders: dict[str, list[str]] = {SUBMISSIONS: [submission]}
    for path in tables:
        folder, _, last = f"{home}/{path}".rpartition("/")
        folders.setdefault(folder, []).append(last)
    for part in ("children", "logs"):
        folders.setdefault(f"{home}/{part}", [])
    contents = {f"{home}/{path}": content for path, content in tables.items()}
    files = SeenFiles(store.files, frozenset(), folders, contents, {}, {}, {}, {}, {})
    return replace(store, files=files)


@dataclass(frozen=True, slots=True)
class SeenPlace:
    """A place with known answers to some questions, by the words of the question."""

    place: Place
    answered: Mapping[tuple[str, ...], Completed] = field(default_factory=dict)

    def __getattr__(self, verb: str) -> Any:  # noqa: ANN401  # a verb of the place
        """Forward all other methods."""
        return getattr(self.place, verb)

    def ask(self, questions: Sequence[Question[T]]) -> list[T]:
        """Return the answers to all questions."""
        if any(tuple(question.words) not in self.answered for question in questions):
            return self.place.ask(questions)
        return [question.read(self.answered[tuple(question.words)]) for question in questions]


def look(store: Store, jobs: Collection[JobId], asked: Sequence[Question[Any]] = ()) -> Store:
    """Look once at these jobs and at all live submissions; return the seen store.

    ``asked`` are questions that callers are likely to ask next.
    """
    words = [(question.words, question.timeout_s) for question in asked]
    seen, answers = store.look(progress.through(jobs, "looking at jobs:"), words)
    answered = {
        tuple(each): Completed(code=code, stdout=out, stderr=err)
        for (each, _), (code, out, err) in zip(words, answers, strict=False)
    }
    place = cast("Place", SeenPlace(store.place, answered)) if answered else store.place
    files = SeenFiles(store.files, frozenset(jobs), *seen)
    return replace(store, place=place, files=files)
