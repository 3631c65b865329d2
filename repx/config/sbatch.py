"""The options of sbatch, parsed in the same way as by sbatch, and who may set each option.

The table has the facts of sbatch 22.05, and the names that later versions added. Pure.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Final, NoReturn

from repx.config import sbatch_values
from repx.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class Takes(Enum):
    """Whether an option takes a value; an optional value is attached: ``--nice=5``, ``-koff``."""

    VALUE = auto()
    OPTIONAL = auto()
    NOTHING = auto()


class By(Enum):
    """Who may set an option."""

    ANYBODY = auto()
    PROFILE = auto()  # only the user, for a target: the author of a Lab may be a stranger
    REPX = auto()  # repx's scripts set the option, or would not work with it


@dataclass(frozen=True, slots=True)
class Option:
    """One option of sbatch, by its long name."""

    name: str
    short: str = ""
    takes: Takes = Takes.VALUE
    by: By = By.ANYBODY


OPTIONS: Final = (
    Option("account", "A"),
    Option("acctg-freq"),
    Option("array", "a", by=By.REPX),
    Option("batch"),
    Option("bb", by=By.PROFILE),
    Option("bbf", by=By.PROFILE),
    Option("begin", "b", by=By.REPX),
    Option("chdir", "D", by=By.REPX),
    Option("cluster", by=By.PROFILE),
    Option("cluster-constraint", by=By.PROFILE),
    Option("clusters", "M", by=By.PROFILE),
    Option("comment", by=By.REPX),
    Option("constraint", "C"),
    Option("container", by=By.PROFILE),
    Option("container-id", by=By.PROFILE),  # 23.02
    Option("context", by=By.PROFILE),
    Option("contiguous", takes=Takes.NOTHING),
    Option("core-spec", "S"),
    Option("cores-per-socket"),
    Option("cpu-freq"),
    Option("cpus-per-gpu"),
    Option("cpus-per-task", "c"),
    Option("deadline"),
    Option("delay-boot"),
    Option("dependency", "d", by=By.REPX),
    Option("distribution", "m"),
    Option("error", "e", by=By.REPX),
    Option("exclude", "x"),
    Option("exclusive", takes=Takes.OPTIONAL),
    Option("export", by=By.REPX),
    Option("export-file", by=By.PROFILE),
    Option("extra", by=By.PROFILE),  # 23.02
    Option("extra-node-info", "B"),
    Option("get-user-env", takes=Takes.OPTIONAL, by=By.PROFILE),
    Option("gid", by=By.PROFILE),
    Option("gpu-bind"),
    Option("gpu-freq"),
    Option("gpus", "G"),
    Option("gpus-per-node"),
    Option("gpus-per-socket"),
    Option("gpus-per-task"),
    Option("gres"),
    Option("gres-flags"),
    Option("help", "h", Takes.NOTHING, By.REPX),
    Option("hint"),
    Option("hold", "H", Takes.NOTHING, By.REPX),
    Option("ignore-pbs", takes=Takes.NOTHING),
    Option("input", "i", by=By.PROFILE),
    Option("job-name", "J", by=By.REPX),
    Option("kill-on-invalid-dep", by=By.REPX),
    Option("licenses", "L"),
    Option("mail-type"),
    Option("mail-user"),
    Option("mcs-label"),
    Option("mem"),
    Option("mem-bind"),
    Option("mem-per-cpu"),
    Option("mem-per-gpu"),
    Option("mincpus"),
    Option("network"),
    Option("nice", takes=Takes.OPTIONAL),
    Option("no-kill", "k", Takes.OPTIONAL),
    Option("no-requeue", takes=Takes.NOTHING, by=By.REPX),
    Option("nodefile", "F", by=By.PROFILE),
    Option("nodelist", "w"),
    Option("nodes", "N"),
    Option("ntasks", "n"),
    Option("ntasks-per-core"),
    Option("ntasks-per-gpu"),
    Option("ntasks-per-node"),
    Option("ntasks-per-socket"),
    Option("ntasks-per-tres"),
    Option("oom-kill-step", takes=Takes.OPTIONAL),  # 24.05
    Option("open-mode", by=By.REPX),
    Option("output", "o", by=By.REPX),
    Option("overcommit", "O", Takes.NOTHING),
    Option("oversubscribe", "s", Takes.NOTHING),
    Option("parsable", takes=Takes.NOTHING, by=By.REPX),
    Option("partition", "p"),
    Option("power"),
    Option("prefer"),
    Option("priority"),
    Option("profile"),
    Option("propagate", takes=Takes.OPTIONAL),
    Option("qos", "q"),
    Option("quiet", "Q", Takes.NOTHING, By.REPX),
    Option("reboot", takes=Takes.NOTHING, by=By.PROFILE),
    Option("requeue", takes=Takes.NOTHING, by=By.REPX),
    Option("reservation"),
    Option("signal", by=By.REPX),
    Option("sockets-per-node"),
    Option("spread-job", takes=Takes.NOTHING),
    Option("stepmgr", takes=Takes.NOTHING),  # 24.05
    Option("switches"),
    Option("tasks-per-node"),
    Option("test-only", takes=Takes.NOTHING, by=By.REPX),
    Option("thread-spec"),
    Option("threads-per-core"),
    Option("time", "t"),
    Option("time-min"),
    Option("tmp"),
    Option("tres-bind"),  # 23.11
    Option("tres-per-task"),  # 23.11
    Option("uid", by=By.PROFILE),
    Option("usage", takes=Takes.NOTHING, by=By.REPX),
    Option("use-min-nodes", takes=Takes.NOTHING),
    Option("verbose", "v", Takes.NOTHING, By.REPX),
    Option("version", "V", Takes.NOTHING, By.REPX),
    Option("wait", "W", Takes.NOTHING, By.REPX),
    Option("wait-all-nodes"),
    Option("wckey"),
    Option("wrap", by=By.REPX),
)
_BY_NAME: Final = {option.name: option for option in OPTIONS}
_BY_SHORT: Final = {option.short: option for option in OPTIONS if option.short}


def matching(name: str) -> tuple[Option, ...]:
    """Return the option of a long name, or all options that the name abbreviates."""
    if name in _BY_NAME:
        return (_BY_NAME[name],)
    return tuple(option for option in OPTIONS if option.name.startswith(name))


def read(texts: Iterable[str]) -> Iterator[tuple[str, str | None]]:
    """Yield the options in ``sbatch_opts`` by long name, with their values.

    Raises InputError for options or values that sbatch would reject, and for options that only
    repx or a target may set.
    """
    words = iter([word for text in texts for word in _split(text)])
    for word in words:
        for option, value in _read(word, words):
            _check(option, word)
            sbatch_values.check(option.name, value)
            yield option.name, value


def _split(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise InputError(
            f"{text!r}: {error}", hint="write each option as in a shell's command"
        ) from error


def _read(word: str, following: Iterator[str]) -> Iterator[tuple[Option, str | None]]:
    """Parse a word like getopt_long; a value that is not attached is the next word."""
    if word in {"", "-", "--"} or not word.startswith("-"):
        _refuse(
            f"{word!r} is not an option: sbatch would take it as a script to run",
            "begin options with '-', and quote values with blanks: \"--account='my project'\"",
        )
    if word.startswith("--"):
        yield _long(word, following)
    else:
        yield from _bundled(word, following)


def _long(word: str, following: Iterator[str]) -> tuple[Option, str | None]:
    name, attached, value = word[2:].partition("=")
    found = matching(name) if name else ()
    if not found:
        _unknown(f"--{name}")
    if len(found) > 1:
        names = ", ".join(f"--{option.name}" for option in found)
        _refuse(f"--{name} is short for several options", f"write one of {names}")
    option = found[0]
    if attached and option.takes is Takes.NOTHING:
        _refuse(f"{word!r}: --{option.name} takes no value", f"write --{option.name}")
    if attached or option.takes is not Takes.VALUE:
        return option, value if attached else None
    return option, _next(option, following)


def _bundled(word: str, following: Iterator[str]) -> Iterator[tuple[Option, str | None]]:
    """Parse short options: ``-pmain``, ``-p main``, and flags before others: ``-Op main``."""
    for place, letter in enumerate(word[1:], 2):
        option = _BY_SHORT.get(letter)
        if option is None:
            _unknown(f"-{letter}", word)
        if option.takes is Takes.NOTHING:
            yield option, None
            continue
        rest = word[place:] or None
        needs_next = rest is None and option.takes is Takes.VALUE
        yield option, _next(option, following) if needs_next else rest
        return


def _next(option: Option, following: Iterator[str]) -> str:
    value = next(following, None)
    if value is None:
        _refuse(f"--{option.name} has no value", f"write --{option.name}=VALUE")
    return value


def _check(option: Option, word: str) -> None:
    told = f"{word!r} sets --{option.name}, which"
    if option.by is By.REPX:
        _refuse(f"{told} repx sets itself", f"remove {shlex.quote(word)} from sbatch_opts")
    if option.by is By.PROFILE:
        _refuse(
            f"{told} only a target may set",
            f"remove {shlex.quote(word)} from sbatch_opts; if you want it, write "
            f"'{option.name}' below `slurm: options:` of the target in targets.yaml",
        )


def _unknown(name: str, word: str = "") -> NoReturn:
    near = did_you_mean(name, [f"--{known}" for known in _BY_NAME]) if name.strip("-") else None
    where = f" in {word!r}" if word and word != name else ""
    _refuse(
        f"sbatch has no option {name}{where}",
        f"{near or '`sbatch --help` lists the options;'} write an option of the site's own below "
        "`slurm: options:` of the target in targets.yaml",
    )


def _refuse(message: str, hint: str) -> NoReturn:
    raise InputError(message, hint=hint)
