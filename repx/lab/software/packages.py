"""Python packages that a Lab needs, pinned: the files that name them, versions and sums."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from repx.lab.software import requirements
from repx.lab.software.programs import SoftwareError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from repx.lab.software.declared import Packages

_RECIPE: Final = 1  # raise it when the same pins give a different folder
_DIGITS: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Pins:
    """The packages to install: each with its version and sums, as lines of requirements.

    ``sums`` are those of the files that named the packages, ``python`` is a version like 3.11,
    ``platform`` the name from Python's sysconfig.
    """

    sums: Mapping[str, str]
    python: str
    platform: str
    lines: tuple[str, ...]

    @property
    def key(self) -> str:
        """Return the name of the folder with these packages; equal pins give equal names."""
        text = json.dumps([_RECIPE, self.python, self.platform, *self.lines])
        return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]

    def document(self) -> dict[str, Any]:
        """Return the pins as JSON."""
        return {
            "files": dict(self.sums),
            "pins": list(self.lines),
            "platform": self.platform,
            "python": self.python,
        }


def pins_of(document: Any) -> Pins:  # noqa: ANN401  # JSON of a file
    """Return pins from JSON. Raises ValueError, TypeError or KeyError for other JSON."""
    return Pins(
        sums=dict(document["files"]),
        python=str(document["python"]),
        platform=str(document["platform"]),
        lines=tuple(map(str, document["pins"])),
    )


def name_in_lock(wanted: Packages) -> str:
    """Return the name under which packages are pinned; each platform has its own pins."""
    python = f", Python {wanted.python}" if wanted.python else ""
    return f"{wanted.kind} {wanted.file} on {platform.system()} {platform.machine()}{python}"


def files(wanted: Packages, folder: Path) -> tuple[Path, ...]:
    """Return the files that name packages. Raises SoftwareError."""
    top = folder / wanted.file
    try:
        if wanted.kind == "venv":
            return requirements.files(top)
        project = top.with_name("pyproject.toml")
        for file in (top, project):
            file.read_bytes()
    except OSError as error:
        message = f"cannot read {error.filename or top}: {error.strerror}"
        raise SoftwareError(message) from error
    except ValueError as error:  # not UTF-8, or an unclosed quote
        raise SoftwareError(f"cannot read {top}: {error}") from error
    return (top, project)


def sums(wanted: Packages, folder: Path) -> dict[str, str]:
    """Return the sums of the files that name packages. Raises SoftwareError."""
    return {
        os.path.relpath(file, folder): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in files(wanted, folder)
    }
