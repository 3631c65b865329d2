"""What a job's program runs in, as the words of a command line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from repx.errors import InputError
from repx.target import RuntimeName


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """One start of a job's program: absolute paths on the target (format section 3.1)."""

    executable: str
    out: str
    inputs: str
    parameters: str


def argv(runtime: RuntimeName, launch: Launch) -> list[str]:
    """Return the command that starts the program. Raises InputError for a runtime not built yet."""
    return _RUNTIMES[runtime](launch)


def _native(launch: Launch) -> list[str]:
    return [launch.executable, launch.out, launch.inputs, launch.parameters]


def _not_yet(name: RuntimeName) -> Callable[[Launch], list[str]]:
    def refuse(_launch: Launch) -> list[str]:
        message = f"the runtime '{name}' does not work yet"
        raise InputError(message, hint="set `runtime: native` in the target's profile")

    return refuse


_RUNTIMES: Final[Mapping[RuntimeName, Callable[[Launch], list[str]]]] = MappingProxyType(
    {
        RuntimeName.NATIVE: _native,
        RuntimeName.BWRAP: _not_yet(RuntimeName.BWRAP),
        RuntimeName.DOCKER: _not_yet(RuntimeName.DOCKER),
        RuntimeName.PODMAN: _not_yet(RuntimeName.PODMAN),
    }
)
