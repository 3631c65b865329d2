"""From a line in a program of the Lab to the user's own line that it was made from."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from repx.lab import nix_origin
from repx.lab import record as records

if TYPE_CHECKING:
    from repx.lab.record import Record

# `/B/store/DIGEST-fit: line 7: x: command not found`, `File "/B/store/DIGEST-fit/fit.py", line 3`,
# `/B/store/DIGEST-fit/fit.R:3`: bash, Python and most other languages. The phases of a job have
# their own names: `/B/jobs/ID-many/bin/many-step-one: line 7`.
_PLACE: Final = re.compile(
    r"/(?:store/(?P<entry>[0-9a-z]{32}-[A-Za-z0-9._+-]+)(?:/(?P<file>[^\"'\n:]+))?"
    r"|(?P<phase>jobs/[0-9a-z]{32}-[A-Za-z0-9._+-]+/bin/[A-Za-z0-9._+-]+))"
    r"[\"']?(?:, line |: line |:| line )(?P<line>\d+)"
)
_TITLE: Final = re.compile(r"^# Stage (?P<stage>\S+?)(?:, (?P<phase>\S+))?\. Usage: ", re.MULTILINE)
_BEGIN: Final = "# --- the stage ---\n"
_END: Final = "\n\nexit\n"


def of(text: str, link: Path) -> str | None:
    """Return the last line of this project that ``text`` names, as FILE:LINE.

    ``link`` names the Lab. None if ``text`` names no such line, or the Lab was built elsewhere.
    """
    link = records.own(link)
    record = records.read(link)
    by_nix = nix_origin.read(link) if record is None else {}
    if record is None and not by_nix:
        return None
    for match in reversed(list(_PLACE.finditer(text))):
        try:
            entry = match["entry"] or (link / match["phase"]).readlink().name
            if record is None:
                program = "/".join(filter(None, (entry, match["file"])))
                found = nix_origin.place(link, by_nix, program, int(match["line"]))
            else:
                found = _own_place(link, record, match, entry)
        except OSError:
            continue
        if found is not None:
            return found
    return None


def _own_place(link: Path, record: Record, match: re.Match[str], name: str) -> str | None:
    entry = link / "store" / name
    source = link.parent / record.source
    line = int(match["line"])
    if match["file"]:
        return _in_file(entry / match["file"], source.parent / match["file"], line)
    return _in_lines(entry, source, line) if entry.is_file() else None


def _in_file(copy: Path, own: Path, line: int) -> str | None:
    """Return the line of a program file; None for a file outside the project."""
    if not own.is_file():
        return None
    changed = _sha256(copy) != _sha256(own)
    return f"{own}:{line}" + (" (the file has changed since)" if changed else "")


def _in_lines(script: Path, source: Path, line: int) -> str | None:
    """Return the line of lab.yaml that became a line of a stage's script."""
    text = script.read_text(encoding="utf-8")
    title = _TITLE.search(text)
    head, begun, rest = text.partition(_BEGIN)
    if title is None or not begun:
        return None
    number = line - head.count("\n") - 1
    body = rest.partition(_END)[0]
    if not 0 < number <= body.count("\n") + 1:
        return None
    at = _pointer(title["stage"], title["phase"])
    row = _row(source, at, body, number)
    if row is None:
        name = ", ".join(filter(None, title.groups()))
        return f"line {number} of the `run:` lines of {name} ({source} has changed since)"
    return f"{source}:{row}"


def _pointer(stage: str, phase: str | None) -> tuple[str, ...]:
    if phase is None:
        return ("stages", stage)
    step = phase.removeprefix("step-")
    return ("stages", stage, phase) if step == phase else ("stages", stage, "steps", step)


def _row(source: Path, at: tuple[str, ...], body: str, number: int) -> int | None:
    """Return the row in lab.yaml of a line of ``run:``; None if these lines have changed."""
    from repx import document  # only needed after a failure
    from repx.errors import RepxError

    try:
        doc = document.load(source)
    except RepxError:
        return None
    data: Any = doc.data
    for step in at:
        data = data.get(step) if isinstance(data, dict) else None
    lines = data.get("run") if isinstance(data, dict) else None
    return doc.line((*at, "run"), number)[0] if lines == body else None


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
