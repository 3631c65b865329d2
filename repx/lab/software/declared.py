"""The software of lab.yaml: packages of one file, modules of the machine."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    Json = Any

_PYTHON: Final = ("venv", "uv")
# The forms in which repx/lab/expand/script.py writes them.
_ENVIRONMENT: Final = re.compile(r"^export VIRTUAL_ENV=\$REPX_LAB/store/(\S+) ", re.MULTILINE)
_MODULES: Final = re.compile(r"^repx_modules (.+)$", re.MULTILINE)
_LOADER: Final = re.compile(r"^repx_modules\(\) \{\n.*?^\}$", re.MULTILINE | re.DOTALL)


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


def modules_of(script: str) -> str:
    """Return the modules that a stage's script loads, as words of bash; empty if none."""
    found = _MODULES.search(script)
    return found[1] if found else ""


def loading_of(script: str) -> str:
    """Return the lines of bash with which a stage's script loads its modules; empty if none.

    A shell that reads them stays, whatever becomes of the modules.
    """
    loader, modules = _LOADER.search(script), modules_of(script)
    if loader is None or not modules:
        return ""
    kept = 'exit() { return "$1"; }'
    return f"{loader[0]}\n{kept}\nrepx_modules {modules} || :\nunset -f exit\nset +eu"


def _packages(raw: Mapping[str, Json]) -> Packages | None:
    for kind in _PYTHON:
        if kind in raw:
            return Packages(kind=kind, file=raw[kind], python=raw.get("python"))
    return None
