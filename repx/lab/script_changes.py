"""What of a stage's script changed from one Lab to another: which file, or its lines."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from repx.model import Lab

# As repx/lab/expand/script.py writes them.
_FILES: Final = re.compile(r"^export REPX_FILES=\$REPX_LAB/store/(\S+)$", re.MULTILINE)
_BODY: Final = re.compile(r"\n# --- the stage ---\n(.*)\n\nexit\n", re.DOTALL)
_CALL: Final = 'exec "$REPX_FILES"/'
_LINES: Final = "its `run:` lines"
OURS: Final = "the part that repx writes"


class Side(Protocol):
    """One of two Labs, and its scripts' texts."""

    @property
    def lab(self) -> Lab:
        """Return the Lab."""

    def text(self, path: str) -> str:
        """Return the text of a script in the Lab; empty for one that cannot be read."""


def of(old: Side, old_path: str, new: Side, new_path: str) -> tuple[str, ...]:
    """Return what changed, by the user's own names; nothing where that cannot be told."""
    before, after = old.text(old_path), new.text(new_path)
    found = _changed_files(_files(old.lab, before), _files(new.lab, after))
    bodies = [match[1] if (match := _BODY.search(text)) else None for text in (before, after)]
    calls = bodies[1] is not None and bodies[1].startswith(_CALL)  # not the user's own lines
    if None in bodies:
        return found
    if bodies[0] != bodies[1] and not calls:
        return (*found, _LINES)
    return found or (OURS,)


def _files(lab: Lab, script: str) -> Mapping[str, str]:
    """Return the files that lie beside a script, by their names in the project."""
    match = _FILES.search(script)
    if match is None:
        return {}
    top = f"store/{match[1]}/"
    return {path[len(top) :]: digest for path, digest in lab.files.items() if path.startswith(top)}


def _changed_files(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[str, ...]:
    changed = [name for name in after if name in before and before[name] != after[name]]
    new = [f"{name} (new)" for name in after if name not in before]
    gone = [f"{name} (gone)" for name in before if name not in after]
    return (*sorted(changed), *sorted(new), *sorted(gone))
