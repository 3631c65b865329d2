"""Changes of a stage's script from one Lab to another: files, packages, or lines."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Protocol

from repx.lab.software.declared import environment_of, modules_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from repx.model import Lab

# The form in which repx/lab/expand/script.py writes them.
_FILES: Final = re.compile(r"^export REPX_FILES=\$REPX_LAB/store/(\S+)$", re.MULTILINE)
_PACKAGE: Final = re.compile(r"/([^/]+)-([^/-]+)\.dist-info/METADATA$")
_IMAGE: Final = re.compile(r"^# Runs in (\S+)\.$", re.MULTILINE)
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
        """Return the text of a script in the Lab; empty if the script cannot be read."""


def of(old: Side, old_path: str, new: Side, new_path: str) -> tuple[str, ...]:
    """Return the changes, by the user's own names; empty if repx cannot tell."""
    before, after = old.text(old_path), new.text(new_path)
    found = (
        *_changed_files(_files(old.lab, before), _files(new.lab, after)),
        *_changed_packages(_packages(old.lab, before), _packages(new.lab, after)),
        *_changed_modules(modules_of(before), modules_of(after)),
        *(["its image"] if _found(_IMAGE, before) != _found(_IMAGE, after) else ()),
    )
    bodies = [match[1] if (match := _BODY.search(text)) else None for text in (before, after)]
    calls = bodies[1] is not None and bodies[1].startswith(_CALL)  # repx wrote these lines
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


def _packages(lab: Lab, script: str) -> Mapping[str, str]:
    """Return the versions, by name, of the packages in a script's environment."""
    folder = environment_of(script)
    if folder is None:
        return {}
    paths = (path for path in lab.files if path.startswith(f"store/{folder}/"))
    return {match[1]: match[2] for path in paths if (match := _PACKAGE.search(path))}


def _found(pattern: re.Pattern[str], script: str) -> str:
    match = pattern.search(script)
    return match[1] if match else ""


def _changed_modules(old: str, new: str) -> tuple[str, ...]:
    return () if old == new else (f"modules {old or 'none'} → {new or 'none'}",)


def _changed_packages(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[str, ...]:
    names = sorted(before.keys() | after.keys())
    return tuple(
        f"package {name} {before.get(name, 'none')} → {after.get(name, 'none')}"
        for name in names
        if before.get(name) != after.get(name)
    )


def _changed_files(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[str, ...]:
    changed = [name for name in after if name in before and before[name] != after[name]]
    new = [f"{name} (new)" for name in after if name not in before]
    gone = [f"{name} (gone)" for name in before if name not in after]
    return (*sorted(changed), *sorted(new), *sorted(gone))
