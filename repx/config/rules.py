"""Rules for resources, from blocks of targets.yaml and files for ``--resources``."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from repx import document
from repx.config import sbatch, xdg
from repx.config.entry import Entry
from repx.config.sbatch_keys import as_keys
from repx.errors import ProblemsError
from repx.target import Resources, Retries, RetryReason, Rule, Rules

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

DIRECTIVES: Final[Mapping[str, str]] = {
    "account": "account",
    "qos": "qos",
    "gres": "gres",
    "gpus": "gpus",
    "constraint": "constraint",
    "nodes": "nodes",
    "ntasks": "ntasks",
    "ntasks_per_node": "ntasks-per-node",
    "exclusive": "exclusive",
    "licenses": "licenses",
    "reservation": "reservation",
    "begin": "begin",
}
_FIELDS: Final = {
    "mem": "mem",
    "mem-per-cpu": "mem_per_cpu",
    "mem-per-gpu": "mem_per_gpu",
    "cpus-per-task": "cpus",
    "time": "time",
    "partition": "partition",
}


_MEMORY: Final = frozenset(("mem_bytes", "mem_per_cpu", "mem_per_gpu"))
# The fields that `KEY: null` resets; `false` leaves out an option of sbatch.
_TAKEN_BACK: Final[Mapping[str, frozenset[str]]] = {
    **dict.fromkeys(("mem", "mem_per_cpu", "mem_per_gpu"), _MEMORY),
    **{key: frozenset((key,)) for key in ("cpus", "partition", "after")},
    "time": frozenset(("time_s",)),
}


def load(path: Path, env: Mapping[str, str]) -> Rules:
    """Read a file for ``--resources``, YAML or RepX 0.5's TOML.

    Raises InputError when it cannot be read, ProblemsError with every mistake in it.
    """
    doc = document.load_valid(path, "resources.schema.json", cache=xdg.cache(env))
    root = Entry.root(doc)
    rules = read(root)
    if root.problems:
        raise ProblemsError(root.problems)
    return rules


def read(block: Entry) -> Rules:
    """Return the ``defaults`` and ``rules`` of a block."""
    if not block.data:
        return Rules()
    defaults = block.at("defaults")
    return Rules(
        defaults=(Rule(origin=defaults.origin("defaults"), resources=asked(defaults)),),
        rules=tuple(_rule(entry, number) for number, entry in enumerate(block.each("rules"), 1)),
    )


def asked(entry: Entry) -> Resources:
    """Return the resources that a mapping asks for; other keys are ignored."""
    found = replace(
        basic(entry),
        sbatch_opts=tuple(entry.get("sbatch_opts", ())),
        slurm=directives(entry),
        bundle=entry.get("bundle"),
        retries=retries(entry),
    )
    return as_keys(found)


def basic(entry: Entry) -> Resources:
    """Return the resources that rules and `slurm:` blocks, which give defaults, both set."""
    given = [key for key in ("mem", "mem_per_cpu", "mem_per_gpu") if entry.get(key) is not None]
    for key in given[1:]:
        entry.report(key, f"'{given[0]}' and '{key}' exclude each other: keep one")
    back = (fields for key, fields in _TAKEN_BACK.items() if entry.get(key, key) is None)
    return Resources(
        cpus=entry.get(entry.alias("cpus", "cpus-per-task")),
        mem_bytes=entry.memory("mem"),
        mem_per_cpu=entry.memory("mem_per_cpu"),
        mem_per_gpu=entry.memory("mem_per_gpu"),
        time_s=entry.time("time"),
        partition=entry.get("partition"),
        after=tuple(map(str, entry.get("after") or ())),
        taken_back=frozenset().union(*back),
    )


def retries(entry: Entry) -> Retries | None:
    """Return the retries of a job, from a number or a mapping."""
    value = entry.get("retries")
    if value is None or isinstance(value, int):
        return None if value is None else Retries(n=value)
    block = entry.at("retries")
    return Retries(
        n=block.get("n"),
        on=tuple(RetryReason(word) for word in block.get("on", RetryReason)),
        mem=_factor(block.get("mem")),
        time=_factor(block.get("time")),
        max_mem_bytes=block.memory("max_mem"),
        max_time_s=block.time("max_time"),
    )


def _factor(text: str | None) -> float:
    """Return ``x1.5`` as a number."""
    return float(text.removeprefix("x")) if text else 1.0


def directives(entry: Entry, keys: Mapping[str, str] = DIRECTIVES) -> dict[str, str | int | bool]:
    """Return sbatch options by long name: first those of ``keys``, then those of ``options``.

    An option that another key or repx itself sets is a problem.
    """
    key_of = _FIELDS | {option: key for key, option in keys.items()}
    found = {option: _or_left_out(entry.get(key)) for key, option in keys.items() if key in entry}
    options = entry.at("options")
    for name, value in options.data.items():
        if name in key_of:
            options.report(name, f"options: write '{key_of[name]}:' instead of '{name}'")
        elif mistake := _mistake(name):
            options.report(name, f"options: {mistake}")
        found[name] = value
    return found


def _or_left_out(value: str | int | bool | None) -> str | int | bool:  # noqa: FBT001  # as YAML has it
    """Return a value; null becomes false, which leaves out the target's value."""
    return False if value is None else value


def _mistake(name: str) -> str | None:
    """Return what is wrong with an option's name; unknown names may be the site's own."""
    found = sbatch.matching(name)
    if found and found[0].name != name:
        full = f"'{found[0].name}'" if len(found) == 1 else "its long name"
        return f"'{name}' is an abbreviation, write {full}"
    if found and found[0].by is sbatch.By.REPX:
        return f"'{name}' is for repx itself to set"
    return None


def _rule(entry: Entry, number: int) -> Rule:
    job, steps = (
        entry.alias("job", "job_id_glob"),
        entry.alias("step_resources", "worker_resources"),
    )
    conditions = {
        name: entry.words(key)
        for name, key in (("job", job), ("stage", "stage"), ("run", "run"), ("target", "target"))
    }
    told = ", ".join(f"{name} {' | '.join(words)}" for name, words in conditions.items() if words)
    return Rule(
        origin=entry.origin(f"rule {number} ({told or 'every job'})"),
        resources=asked(entry),
        steps=asked(entry.at(steps)) if steps in entry else None,
        jobs=conditions["job"],
        stages=conditions["stage"],
        runs=conditions["run"],
        targets=conditions["target"],
    )
