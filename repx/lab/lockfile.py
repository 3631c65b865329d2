"""The lock file beside lab.yaml: versions and digests that one build pins for later builds."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from repx import whole
from repx.errors import InputError, RepxError
from repx.lab.software import packages, registry

if TYPE_CHECKING:
    from collections.abc import Iterable

Json: TypeAlias = Any

_VERSION: Final = 1
_SECTIONS: Final[Mapping[str, Callable[[Json], object]]] = {
    "images": registry.checked,
    "packages": packages.pins_of,
}


class Lock:
    """The pinned values, by section and name. Mutable: a build adds, then calls ``write``."""

    def __init__(self, file: Path, found: Mapping[str, Mapping[str, Json]]) -> None:
        """Start with the entries of the file."""
        self.file = file
        self._before = {name: dict(found.get(name, {})) for name in _SECTIONS}
        self._now = {name: dict(entries) for name, entries in self._before.items()}

    def get(self, section: str, name: str) -> Json | None:
        """Return the value pinned under a name, None if there is none."""
        return self._now[section].get(name)

    def pin(self, section: str, name: str, value: Json) -> None:
        """Pin a value under a name."""
        self._now[section][name] = value

    def forget(self) -> None:
        """Drop all pins, so that the build finds new ones."""
        self._now = {name: {} for name in _SECTIONS}

    def write(self, used: Iterable[tuple[str, str]]) -> None:
        """Write the file if pins changed; drop names that the definition no longer uses."""
        kept = set(used)
        now = {
            section: {name: value for name, value in entries.items() if (section, name) in kept}
            for section, entries in self._now.items()
        }
        if now == self._before:
            return
        try:
            if not any(now.values()):
                self.file.unlink(missing_ok=True)
                return
            text = json.dumps({"version": _VERSION, **now}, indent=2, sort_keys=True)
            whole.write(self.file, f"{text}\n")
        except OSError as error:
            raise RepxError(f"cannot write {self.file}: {error.strerror}") from error


def beside(source: Path) -> Path:
    """Return the path of a definition's lock file."""
    return Path(os.path.realpath(source)).with_suffix(".lock")


def read(source: Path) -> Lock:
    """Read the lock file of a definition. Raises InputError for a broken one."""
    file = beside(source)
    try:
        document = json.loads(whole.read(file))
        if document["version"] != _VERSION:
            raise InputError(
                f"{file}: version {document['version']} is not {_VERSION}",
                hint="use the repx that wrote the file, or delete the file and build again",
            )
        return Lock(file, {name: _entries(document, name) for name in _SECTIONS})
    except FileNotFoundError:
        return Lock(file, {})
    except OSError as error:
        raise InputError(f"cannot read {file}: {error.strerror}") from error
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise InputError(
            f"{file}: a broken lock file: {error}",
            hint="restore the file, or delete it and build again: versions are then found anew",
        ) from error


def _entries(document: Mapping[str, Json], section: str) -> dict[str, Json]:
    """Return the entries of a section. Raises ValueError, TypeError or KeyError for a bad one."""
    found = dict(document.get(section) or {})
    for name, value in found.items():
        try:
            _SECTIONS[section](value)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            message = f"{section}: what it pins for '{name}' is damaged: {error}"
            raise ValueError(message) from error
    return found
