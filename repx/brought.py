"""Results that were made elsewhere: who made them, and what is noted of that in a store."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

from repx.store import as_object

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from repx.model import JobId
    from repx.store import Store

_NOTE: Final = "brought"
_TYPES: Final[Mapping[str, Any]] = {
    **dict.fromkeys(("by", "host", "sha256"), str),
    "at": (int, float),
    "size": int,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A job's results in another place: who made them, on which host and when.

    ``by`` and ``host`` are empty, and ``at`` (seconds since the epoch) 0, where that is not known.
    ``sha256`` and ``size`` are those of an archive's pack.
    """

    by: str = ""
    host: str = ""
    at: float = 0
    sha256: str = ""
    size: int = 0

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> Found:
        """Read an entry of an archive, or a note in a marker; other types count as absent."""
        given = {name: entry.get(name) for name in ("by", "host", "at", "sha256", "size")}
        typed: dict[str, Any] = {
            name: value for name, value in given.items() if isinstance(value, _TYPES[name])
        }
        return cls(**typed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Brought:
    """What came: jobs and their bytes.

    ``passed`` are jobs that a process works on, or that have succeeded meanwhile; ``broken`` says
    why others could not be brought.
    """

    jobs: tuple[JobId, ...] = ()
    size_bytes: int = 0
    passed: tuple[JobId, ...] = ()
    broken: Mapping[JobId, str] = field(default_factory=dict)


class Source(Protocol):
    """Where results are: an archive, or the store of another target."""

    @property
    def name(self) -> str:
        """Return how people call it."""

    def has(self, jobs: Collection[JobId]) -> dict[JobId, Found]:
        """Return those of the jobs whose results are there whole. Raises StorageError."""

    def bring(self, found: Mapping[JobId, Found], target: Store) -> Brought:
        """Bring the results of jobs that have not succeeded at the target, markers last."""


def marked(marker: bytes, name: str, found: Found) -> bytes:
    """Return a job's marker with a note of where its results came from and who made them.

    The note goes with the marker when the job runs again.
    """
    said = {"from": name, "by": found.by, "host": found.host, "at": found.at}
    note = {key: value for key, value in said.items() if value}
    return json.dumps({**as_object(marker), _NOTE: note}, ensure_ascii=False).encode() + b"\n"


def origin(marker: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return where a job's results came from; nothing for those that were made in their store."""
    note = marker.get(_NOTE)
    return note if isinstance(note, dict) else {}
