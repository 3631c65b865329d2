"""From a line in a program of a Lab built by Nix to the user's own line in a Nix file.

The Lab stores each program's source file, as a path that is the same in every checkout.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from repx import whole

if TYPE_CHECKING:
    from collections.abc import Iterator

_PATH: Final = "revision/origins.json"
_MOST_BYTES: Final = 64 << 20
_MOST_FOLDERS: Final = 2000  # of a project, which may also hold results
_BEGIN: Final = b"# --- the stage ---\n"


def read(link: Path) -> dict[str, Any]:
    """Return the origins of a Lab's programs, by the programs' path below ``store/``."""
    path = link / _PATH
    try:
        if path.stat().st_size > _MOST_BYTES:
            return {}
        found = json.loads(whole.read(path))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def place(link: Path, origins: dict[str, Any], program: str, line: int) -> str | None:
    """Return the origin of line ``line`` of a program, as FILE:LINE. Raises OSError."""
    origin = origins.get(program)
    if not isinstance(origin, dict):
        return None
    label = origin.get("file")
    if not isinstance(label, str) or not _is_inside(label):
        return None
    if "rows" not in origin:
        return _of_file(link, label, _sha256(link / "store" / program), line)
    row = _row(link / "store" / program, origin["rows"], line)
    return None if row is None else _of_file(link, label, str(origin.get("sha256")), row)


def _of_file(link: Path, label: str, digest: str, line: int) -> str:
    """Return FILE:LINE with the path of the project's file, if the project is on this machine."""
    found = list(_candidates(link.parent, label))
    same = next((path for path in found if _sha256(path) == digest), None)
    path = same or next(iter(found), None)
    changed = " (the file has changed since)" if path and not same else ""
    return f"{path or label}:{line}{changed}"


def _candidates(project: Path, label: str) -> Iterator[Path]:
    """Yield the files of a project that a path may mean, the most likely first.

    For a flake, the path is relative to the flake; otherwise it is the last folder and the name.
    """
    name = PurePosixPath(label).name
    tried = [project / label, project / name]
    yield from (path for path in tried if path.is_file())
    for number, (folder, folders, files) in enumerate(os.walk(project)):
        folders[:] = sorted(each for each in folders if not each.startswith("."))
        path = Path(folder, name)
        if name in files and path not in tried and str(path).endswith(f"/{label}"):
            yield path
        if number == _MOST_FOLDERS:
            return


def _row(script: Path, rows: Any, line: int) -> int | None:  # noqa: ANN401  # JSON
    head, begun, _ = script.read_bytes().partition(_BEGIN)
    index = line - head.count(b"\n") - 2
    if not begun or not isinstance(rows, list) or not 0 <= index < len(rows):
        return None
    return rows[index] if isinstance(rows[index], int) else None


def _is_inside(label: str) -> bool:
    parts = PurePosixPath(label).parts
    return bool(parts) and not label.startswith("/") and ".." not in parts and "\0" not in label


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
