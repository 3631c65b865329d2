"""Results that were made elsewhere, and the notes about their source in a store."""

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
    """A job's results in another place, with the user, host and time of the job.

    Unknown ``by`` and ``host`` are empty; an unknown ``at`` (seconds since the epoch) is 0.
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
    """The results that were copied: jobs and their bytes.

    ``passed`` are jobs that run at the target or have succeeded there meanwhile; ``broken`` has
    the reasons for other jobs that could not be copied.
    """

    jobs: tuple[JobId, ...] = ()
    size_bytes: int = 0
    passed: tuple[JobId, ...] = ()
    broken: Mapping[JobId, str] = field(default_factory=dict)


class Source(Protocol):
    """A source of results: an archive, or the store of another target."""

    @property
    def name(self) -> str:
        """Return the name of the source for messages."""

    def has(self, jobs: Collection[JobId]) -> dict[JobId, Found]:
        """Return the jobs whose results are complete in the source. Raises StorageError."""

    def bring(self, found: Mapping[JobId, Found], target: Store) -> Brought:
        """Copy the results of jobs that have not succeeded at the target, markers last."""


def marked(marker: bytes, name: str, found: Found) -> bytes:
    """Return a job's marker with a note about the source and the user of its results.

    The note is removed with the marker when the job runs again.
    """
    said = {"from": name, "by": found.by, "host": found.host, "at": found.at}
    note = {key: value for key, value in said.items() if value}
    return json.dumps({**as_object(marker), _NOTE: note}, ensure_ascii=False).encode() + b"\n"


def origin(marker: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the note about the source of a job's results; empty if the job ran in this store."""
    note = marker.get(_NOTE)
    return note if isinstance(note, dict) else {}
