"""What Slurm is asked for one job: sbatch options by long name, from target and resources."""

from __future__ import annotations

import logging
import shlex
from typing import TYPE_CHECKING, Final, TypeAlias

from repx.config import units
from repx.config.rules import RESERVED
from repx.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from repx.target import Resources, Target

log = logging.getLogger(__name__)

# An option with its dashes, and its value; None for a flag.
Directive: TypeAlias = tuple[str, str | None]

_SHORT: Final = frozenset(  # those of RESERVED that have a short name
    ("-D", "-H", "-J", "-Q", "-W", "-a", "-b", "-d", "-e", "-o")
)


def of_resources(target: Target, resources: Resources) -> tuple[Directive, ...]:
    """Return what one job asks for; later settings replace earlier ones, ``sbatch_opts`` come last.

    The order is: the target's options, then resources. Raises InputError for ``sbatch_opts`` that
    a shell could not read.
    """
    asked: dict[str, str | int | bool | None] = {"export": "NONE", **target.slurm.options}
    asked |= {
        name: value
        for name, value in (
            ("partition", resources.partition),
            ("cpus-per-task", resources.cpus),
            ("mem", resources.mem_bytes and units.slurm_memory(resources.mem_bytes)),
            ("time", resources.time_s and units.slurm_time(resources.time_s)),
        )
        if value is not None
    }
    asked |= resources.slurm
    return (*_given(asked), *_words(resources.sbatch_opts))


def warning(target: Target, time_s: int | None) -> tuple[int, tuple[Directive, ...]]:
    """Return how long before its limit a job is ended, in seconds, and Slurm's warning for it.

    A tenth of the limit where that is less than the target says, so that short jobs keep most of
    their time. Slurm's own warning comes up to a minute early (sbatch(1), ``--signal``).
    """
    before_s = target.slurm.signal_before_s
    if time_s is not None:
        before_s = min(before_s, max(5, time_s // 10))
    return before_s, (("--signal", f"B:USR1@{max(1, before_s)}"),)


def line(directive: Directive) -> str:
    """Return a directive as it stands behind ``#SBATCH``; Slurm reads quotes as a shell does."""
    name, value = directive
    option = name if value is None else f"{name}={shlex.quote(value)}"
    if any(ord(char) < ord(" ") for char in option):
        raise InputError(
            f"Slurm option {name}: {value!r} has a line break or control character",
            hint="write the value on one line",
        )
    return option


def _given(asked: Mapping[str, str | int | bool | None]) -> Iterator[Directive]:
    for name, value in asked.items():
        if value is not False and value is not None:
            yield f"--{name}", None if value is True else str(value)


def _words(options: Iterable[str]) -> Iterator[Directive]:
    """Read whole options as sbatch does: ``--account=x``, ``-p main``, ``--exclusive``."""
    for option in options:
        try:
            words = shlex.split(option)
        except ValueError as error:
            message = f"sbatch_opts: {option!r}: {error}"
            raise InputError(message, hint="write each option as in a shell's command") from error
        if words and _is_ours(words[0]):
            log.warning("sbatch_opts: %s is left out: repx sets it itself", option)
        elif words:
            yield shlex.join(words), None


def _is_ours(word: str) -> bool:
    """Tell whether a word is one of our options, also shortened or with its value."""
    if not word.startswith("--"):
        return word[:2] in _SHORT
    name = word[2:].partition("=")[0]
    return bool(name) and any(ours.startswith(name) for ours in RESERVED)
