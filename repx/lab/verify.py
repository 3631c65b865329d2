"""Whether a Lab's files are those it was built with; only hashed again after a change."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from repx import progress, whole
from repx.errors import LabError

if TYPE_CHECKING:
    from pathlib import Path

    from repx.lab.files import LabFiles
    from repx.lab.load import OpenLab

log = logging.getLogger(__name__)

# A file can change twice within one tick of its time stamp; no kernel has a longer tick.
_TICK_NS: Final = 50_000_000
_CHANGED: Final = "the Lab was changed or damaged after it was built; build or copy it again"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The result for an intact Lab: ``hashed`` of its ``listed`` files were read.

    Links to one file count once; ``hashed`` is 0 if nothing changed since the cached verdict.
    """

    listed: int
    hashed: int


def verify(
    opened: OpenLab,
    *,
    cache: Path | None,
    full: bool = False,
) -> Verdict:
    """Compare every listed file with its sha256 (docs/lab-format.md, Manifest).

    A verdict is kept below ``cache`` and holds while size, times and inode of all files
    stay the same, unless ``full``. Raises LabError naming path, expected and actual.
    """
    started_ns = time.time_ns()
    seal, newest_ns = _seal(opened)
    record = None if cache is None else cache / f"{opened.lab.id}.json"
    if record is not None and not full and _recorded(record) == seal:
        return Verdict(listed=len(opened.lab.files), hashed=0)
    hashed = _hash_all(opened)
    if record is not None and newest_ns < started_ns - _TICK_NS:
        _keep(record, seal)
    return Verdict(listed=len(opened.lab.files), hashed=hashed)


def _seal(opened: OpenLab) -> tuple[str, int]:
    """Return a digest of expected sums and actual fingerprints, and the newest change (ns)."""
    digest = hashlib.sha256()
    newest_ns = 0
    for path, expected in progress.through(opened.lab.files.items(), "looking at files:"):
        found = opened.files.fingerprint(path)
        newest_ns = max(newest_ns, found[2])
        digest.update(f"{path}\0{expected}\0{found}\n".encode())
    return digest.hexdigest(), newest_ns


def _hash_all(opened: OpenLab) -> int:
    known: dict[str, str] = {}
    for path, expected in progress.through(opened.lab.files.items(), "checking files of the Lab:"):
        real = opened.files.resolve(path)
        actual = known.get(real) or known.setdefault(real, _sha256(opened.files, real))
        if actual != expected:
            raise changed(opened.files.describe(path), expected, actual)
    return len(known)


def changed(place: str, expected: str, actual: str) -> LabError:
    """Return the error for a file whose sum differs from the Lab's manifest."""
    return LabError(
        f"{place}: is not what the Lab was built with\n"
        f"  expected sha256 {expected}\n  actual   sha256 {actual}",
        hint=_CHANGED,
    )


def _sha256(files: LabFiles, path: str) -> str:
    with files.open(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _recorded(record: Path) -> object:
    try:
        content = json.loads(whole.read(record))
    except (OSError, ValueError, RecursionError):
        return None
    return content.get("seal") if isinstance(content, dict) else None


def _keep(record: Path, seal: str) -> None:
    """Write the verdict; if it cannot be written, the next check only takes longer."""
    try:
        record.parent.mkdir(parents=True, exist_ok=True)
        whole.write(record, json.dumps({"seal": seal}))
    except OSError as error:
        log.debug("verdict not kept: %s", error)
