"""What Slurm is asked for one job: sbatch options by long name, from target and resources."""

from __future__ import annotations

import logging
import shlex
from typing import TYPE_CHECKING, Final, TypeAlias

from repx.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from repx.target import Resources, Target

log = logging.getLogger(__name__)

# An option with its dashes, and its value; None for a flag.
Directive: TypeAlias = tuple[str, str | None]

_MIB: Final = 1024**2
_DAY_S: Final = 86400

# What a Lab may ask for is the site's business, not how the scripts work. (Targets and resource
# files are checked where they are read.)
_OURS: Final = frozenset(
    (
        *("-H", "-J", "-a", "-d", "-e", "-o", "-W", "-D"),
        *("--array", "--begin", "--chdir", "--comment", "--dependency", "--error", "--export"),
        *("--hold", "--job-name", "--kill-on-invalid-dep", "--no-requeue", "--open-mode"),
        *("--output", "--parsable", "--requeue", "--signal", "--test-only", "--wait", "--wrap"),
    )
)


def of_resources(target: Target, resources: Resources) -> tuple[Directive, ...]:
    """Return what one job asks for; later settings replace earlier ones, a Lab's words come last.

    The order is: the target's options, then resources. Raises InputError for what a Lab asks in
    words that are no words.
    """
    asked: dict[str, str | int | bool | None] = {"export": "NONE", **target.slurm.options}
    asked |= {
        name: value
        for name, value in (
            ("partition", resources.partition),
            ("cpus-per-task", resources.cpus),
            ("mem", resources.mem_bytes and memory(resources.mem_bytes)),
            ("time", resources.time_s and wall_time(resources.time_s)),
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


def memory(size_bytes: int) -> str:
    """Return an amount of memory as Slurm reads it, in MiB, rounded up."""
    return f"{-(-size_bytes // _MIB)}M"


def wall_time(time_s: int) -> str:
    """Return a time as Slurm reads it: ``HH:MM:SS`` or ``D-HH:MM:SS``."""
    days, rest = divmod(time_s, _DAY_S)
    clock = f"{rest // 3600:02d}:{rest // 60 % 60:02d}:{rest % 60:02d}"
    return f"{days}-{clock}" if days else clock


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
    """Read options as a Lab writes them: ``--account=x``, ``-p main``, ``--exclusive``."""
    for option in options:
        try:
            words = shlex.split(option)
        except ValueError as error:
            message = f"the Lab asks for the Slurm option {option!r}: {error}"
            raise InputError(message, hint="correct sbatch_opts in the Lab's definition") from error
        name = words[0].partition("=")[0] if words else ""
        if name in _OURS:
            log.warning("the Lab's Slurm option %s is left out: repx sets it itself", option)
        elif words:
            yield shlex.join(words), None
