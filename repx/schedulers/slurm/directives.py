"""What Slurm is asked for one job: sbatch options by long name, from target and resources."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, TypeAlias

from repx.config import sbatch, units
from repx.errors import InputError
from repx.target import RetryReason

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from repx.plan import Task
    from repx.target import Resources, Retries, Target

# An option with its dashes, and its value; None for a flag.
Directive: TypeAlias = tuple[str, str | None]


def of_resources(target: Target, resources: Resources) -> tuple[Directive, ...]:
    """Return what one job asks for; later settings replace earlier ones, ``sbatch_opts`` come last.

    The order is: the target's options, then resources. Raises InputError for ``sbatch_opts`` that
    sbatch does not know or nobody but repx or the target may set.
    """
    asked: dict[str, str | int | bool | None] = {"export": "NONE", **target.slurm.options}
    asked |= {
        name: value
        for name, value in (
            ("partition", resources.partition),
            ("cpus-per-task", resources.cpus),
            *((name, size and units.slurm_memory(size)) for name, size in _memory(resources)),
            ("time", resources.time_s and units.slurm_time(resources.time_s)),
        )
        if value is not None
    }
    asked |= resources.slurm
    return (*_given(asked), *_words(resources.sbatch_opts))


def _memory(resources: Resources) -> Iterator[tuple[str, int | None]]:
    yield "mem", resources.mem_bytes
    yield "mem-per-cpu", resources.mem_per_cpu
    yield "mem-per-gpu", resources.mem_per_gpu


def check(tasks: Iterable[Task]) -> None:
    """Raise InputError for a job with ``sbatch_opts`` that it cannot have; few are different."""
    seen: set[tuple[str, ...]] = {()}
    for task in tasks:
        for unit in task.units:
            words = unit.resources.sbatch_opts
            if words in seen:
                continue
            seen.add(words)
            try:
                tuple(_words(words))
            except InputError as error:
                message = f"job {task.job.id}: {error.message}"
                raise InputError(message, hint=error.hint) from error


def warning(target: Target, time_s: int | None) -> tuple[int, tuple[Directive, ...]]:
    """Return how long before its limit a job is ended, in seconds, and Slurm's warning for it.

    A tenth of the limit where that is less than the target says, so that short jobs keep most of
    their time. Slurm's own warning comes up to a minute early (sbatch(1), ``--signal``).
    """
    before_s = target.slurm.signal_before_s
    if time_s is not None:
        before_s = min(before_s, max(5, time_s // 10))
    return before_s, (("--signal", f"B:USR1@{max(1, before_s)}"),)


def requeue(target: Target, retries: Retries) -> Directive:
    """Return whether Slurm itself starts a job again that was preempted or lost its node."""
    lost = {RetryReason.NODE_FAIL, RetryReason.PREEMPTED}
    tried = retries.n > 0 and not lost.isdisjoint(retries.on)
    return ("--requeue" if target.slurm.requeue or tried else "--no-requeue"), None


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
    try:
        for name, value in sbatch.read(options):
            yield f"--{name}", value
    except InputError as error:
        raise InputError(f"sbatch_opts: {error.message}", hint=error.hint) from error
