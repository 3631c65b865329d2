"""What a program runs in: a launch becomes the commands that prepare, run and stop it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from repx.target import RuntimeName

if TYPE_CHECKING:
    from repx.launch import Launch


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """How a runtime runs one launch; every field but the last is the words of a command.

    ``prepare`` makes a node ready, once for all its jobs. ``stop`` ends everything that ``run``
    started, where ending the process tree does not. ``inherits_lock`` tells whether the
    program's processes hold the job's lock.
    """

    run: tuple[str, ...]
    prepare: tuple[str, ...] = ()
    stop: tuple[str, ...] = ()
    inherits_lock: bool = True


def works(runtime: RuntimeName) -> bool:
    """Return whether repx can use a runtime; the others may be named in a profile already."""
    return runtime in _RUNTIMES


def prepared(runtime: RuntimeName, launch: Launch) -> Prepared:
    """Return how a runtime that works runs a launch."""
    return _RUNTIMES[runtime](launch)


def _native(launch: Launch) -> Prepared:
    return Prepared(run=tuple(launch.words))


_RUNTIMES: Final[Mapping[RuntimeName, Callable[[Launch], Prepared]]] = MappingProxyType(
    {RuntimeName.NATIVE: _native}
)
