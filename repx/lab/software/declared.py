"""The software of lab.yaml: packages of one file, modules of the machine."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    Json = Any

_PYTHON: Final = ("venv", "uv")
# The form in which repx/lab/expand/script.py writes it.
_ENVIRONMENT: Final = re.compile(r"^export VIRTUAL_ENV=\$REPX_LAB/store/(\S+) ", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Packages:
    """Python packages: the file that names them, of the kind ``venv`` or ``uv``.

    ``python`` is the version of Python if the definition names one, e.g. ``3.12``.
    """

    kind: str
    file: str
    python: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Software:
    """The software that a stage needs besides its programs."""

    packages: Packages | None = None
    modules: tuple[str, ...] = ()


def of(levels: Iterable[Mapping[str, Json]]) -> Software:
    """Return the software that results from several levels, the innermost last.

    For each kind the innermost level counts: packages replace packages, modules replace modules.
    """
    packages, modules = None, ()
    for raw in levels:
        packages = _packages(raw) or packages
        modules = tuple(raw.get("modules", modules))
    return Software(packages=packages, modules=modules)


def environment_of(script: str) -> str | None:
    """Return the store entry with the Python packages that a stage's script uses, if any."""
    found = _ENVIRONMENT.search(script)
    return found[1] if found else None


def _packages(raw: Mapping[str, Json]) -> Packages | None:
    for kind in _PYTHON:
        if kind in raw:
            return Packages(kind=kind, file=raw[kind], python=raw.get("python"))
    return None
