"""Results that were made elsewhere, and the notes about their source in a store."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

from repx.store import as_object

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from repx.model import JobId
    from repx.store import Store

_NOTE: Final = "brought"
_SUM: Final = re.compile(r"[0-9a-f]{64}")
_LONGEST: Final = 256


def _is_name(value: object) -> bool:
    """Return whether a terminal can show a value as a name."""
    return isinstance(value, str) and len(value) <= _LONGEST and value.isprintable()


# What the fields of an entry or a note may be: other people write them.
_FIELDS: Final[Mapping[str, Callable[[Any], bool]]] = {
    "by": _is_name,
    "host": _is_name,
    "at": lambda value: isinstance(value, int | float) and 0 <= value < 1 << 40,
    "sha256": lambda value: isinstance(value, str) and _SUM.fullmatch(value) is not None,
    "size": lambda value: type(value) is int and value > 0,
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
        """Read an entry of an archive, or a note in a marker; invalid fields count as absent."""
        typed: dict[str, Any] = {
            name: entry[name] for name, is_valid in _FIELDS.items() if is_valid(entry.get(name))
        }
        return cls(**typed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Brought:
    """The results that were copied: jobs and their bytes.

    ``passed`` are jobs that run at the target or have succeeded there meanwhile; ``broken`` has
    the reasons for other jobs that could not be copied. ``left`` are jobs that were not reached
    because of ``problem``, after which the source could not be read any more.
    """

    jobs: tuple[JobId, ...] = ()
    size_bytes: int = 0
    passed: tuple[JobId, ...] = ()
    broken: Mapping[JobId, str] = field(default_factory=dict)
    left: tuple[JobId, ...] = ()
    problem: str = ""

    def __add__(self, other: Brought) -> Brought:
        """Return both together."""
        return Brought(
            jobs=(*self.jobs, *other.jobs),
            size_bytes=self.size_bytes + other.size_bytes,
            passed=(*self.passed, *other.passed),
            broken={**self.broken, **other.broken},
            left=(*self.left, *other.left),
            problem=other.problem or self.problem,
        )


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
