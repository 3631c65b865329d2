"""What a job's program runs in, as the words of a command line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from repx.target import RuntimeName


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """One start of a job's program: absolute paths on the target."""

    executable: str
    out: str
    inputs: str
    parameters: str


def works(runtime: RuntimeName) -> bool:
    """Return whether repx can use a runtime; the others may be named in a profile already."""
    return runtime in _RUNTIMES


def argv(runtime: RuntimeName, launch: Launch) -> list[str]:
    """Return the command that starts the program in a runtime that works."""
    return _RUNTIMES[runtime](launch)


def _native(launch: Launch) -> list[str]:
    return [launch.executable, launch.out, launch.inputs, launch.parameters]


_RUNTIMES: Final[Mapping[RuntimeName, Callable[[Launch], list[str]]]] = MappingProxyType(
    {RuntimeName.NATIVE: _native}
)
