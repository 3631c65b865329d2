"""Every command in odd surroundings: few descriptors, no memory, closed streams, nonsense set."""

from __future__ import annotations

import contextlib
import os
import pty
import random
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from campaign.study import BUG, Study, Verdict, made

_SECONDS: Final = 60
# The reader of stdout left (SIGPIPE), or the terminal (SIGHUP): other programs end so, too.
_CODES: Final = frozenset({0, 1, 2, 3, 130, 141, -signal.SIGHUP})
_NOBODY: Final = 47_110  # a user and a group that no file knows
_ROOT: Final = Path(__file__).parents[1]

COMMANDS: Final[tuple[tuple[str, ...], ...]] = (
    ("--version",),
    ("--help",),
    ("init", "{new}"),
    ("build",),
    ("diff",),
    ("viz", "-o", "drawn.mmd"),
    ("verify",),
    ("run", "--no-build"),
    ("run", "-n"),
    ("run", "--force", "--only", "--trust", "{job}"),
    ("render", "-o", "{new}"),
    ("status",),
    ("status", "--json"),
    ("cancel", "--all"),
    ("pull", "-o", "pulled"),
    ("pull", "--from", "archive", "-o", "pulled-from"),
    ("push", "--to", "archive"),
    ("push", "--to", "archive.zip"),
    ("targets",),
    ("targets", "check"),
    ("connect",),
    ("gc", "--images", "-n"),
    ("list", "runs"),
    ("list", "jobs", "--json"),
    ("show", "job", "{job}"),
    ("show", "output", "{job}"),
    ("log", "{job}"),
    ("trace-params",),
    ("usage",),
    ("debug-run", "--trust", "-c", "true", "{job}"),
    ("completions", "bash"),
    ("status", "--nonsense"),
)
_NONSENSE: Final = (
    *("", "-1", "99999999999999999999", "nan", "1e999", "x\ny", "$(touch HACKED)", "/dev/null"),
    *("9" * 5_000, "\u00e4\u20ac", "*", "--help", "/nowhere/at/all", "0x10", "' \""),
)


@dataclass(frozen=True)
class Oddity:
    """One thing that is odd. ``bash`` runs first; ``env`` sets variables, None unsets one."""

    name: str
    bash: str = ""
    env: Mapping[str, str | None] = field(default_factory=dict)
    before: tuple[str, ...] = ()
    silent: bool = False  # nobody can read what it says
    leaves: bool = False  # the terminal goes away after a moment


def _limits() -> Iterator[Oddity]:
    for count in (
        5,
        6,  # with fewer Python itself does not start
        8,
        10,
        12,
        16,
        20,
        25,
        30,
        40,
        60,
    ):
        yield Oddity(f"{count} descriptors", f"ulimit -n {count}")
    for mib in (30, 40, 50, 60, 80, 100, 150, 200):
        yield Oddity(f"{mib} MiB of memory", f"ulimit -v {mib * 1024}")
    for kib in (0, 1, 8, 64):
        yield Oddity(f"files of at most {kib} KiB", f"ulimit -f {kib}")
    yield Oddity("a stack of 256 KiB", "ulimit -s 256")
    yield Oddity("no time of the processor", "ulimit -S -t 60")


def _streams() -> Iterator[Oddity]:
    for closed, silent in (
        *(("<&-", False), (">&-", False), ("2>&-", True), ("<&- >&- 2>&-", True)),
        *((">/dev/full", False), ("2>/dev/full", True), (">/dev/full 2>&1", True)),
        *(("< .", False), ("</dev/zero", False), ("> >(:)", False), ("2> >(:)", True)),
        ("> >(head -c 20 >/dev/null)", False),
    ):
        yield Oddity(f"streams {closed}", f"exec {closed}", silent=silent)
    yield Oddity("SIGPIPE ignored", "trap '' PIPE; exec > >(:)")
    yield Oddity("all signals ignored", "trap '' HUP INT TERM QUIT USR1 USR2 CHLD ALRM")
    yield Oddity("a terminal that goes away", silent=True, leaves=True)
    yield Oddity("three hundred descriptors open", 'for i in {10..300}; do eval exec "$i</"; done')


def _variables() -> Iterator[Oddity]:
    values: Mapping[str, Sequence[str | None]] = {
        "LC_ALL": ("xx_XX.NONSENSE", "", "C", "POSIX", "de_DE.ISO-8859-1", "ja_JP.EUC-JP", "/"),
        "LANG": ("xx", "de_DE.ISO-8859-1", "ja_JP.SJIS"),
        "LANGUAGE": ("xx:yy",),
        "PYTHONIOENCODING": ("ascii", "latin-1:strict", "nonsense"),
        "PYTHONUTF8": ("0",),
        "TZ": ("Nowhere/At/All", ":", "", "/etc/passwd", "XXX99999999999", "\u00e4", "A" * 5_000),
        "COLUMNS": ("0", "-1", "1", "x", "9" * 30, ""),
        "LINES": ("-1", "x"),
        "TERM": ("", "nonsense", "dumb", "x" * 5_000),
        "PATH": ("", None, "/nowhere", ".", "\u00e4:/nowhere"),
        "HOME": ("", None, "/nowhere/at/all", "/dev/null", "relative", "/proc", "/root\n"),
        "TMPDIR": ("", "/nowhere", "/dev/null", "relative", "/proc", "/full"),
        "XDG_CACHE_HOME": ("/nowhere", "/dev/null", "/full", "relative", "/proc"),
        "XDG_CONFIG_HOME": ("/nowhere", "/dev/null", "/proc/self/mem"),
        "XDG_STATE_HOME": ("/nowhere", "/dev/null", "/full", "/proc"),
        "XDG_DATA_HOME": ("/nowhere", "/dev/null"),
        "XDG_RUNTIME_DIR": ("/nowhere", "/dev/null"),
        "USER": ("", None, "\u00e4\n"),
        "SHELL": ("", "/nowhere", "/dev/null", None),
        "PWD": ("/nowhere", ""),
        "BASH_ENV": ("/dev/null/x",),
        "EDITOR": ("/nowhere",),
        "NO_COLOR": ("1",),
    }
    for name in repx_variables():
        values = {**values, name: _NONSENSE}
    for name, each in values.items():
        for value in each:
            yield Oddity(
                f"{name}={'(unset)' if value is None else value[:20]!r}", env={name: value}
            )
    yield Oddity("no variables at all", before=("env", "-i"))
    yield Oddity(
        "a byte that is no UTF-8 in a variable", r"export ODD=$'\xff\xfe' REPX_LAB=$'\xff'"
    )


def _places() -> Iterator[Oddity]:
    yield Oddity("a folder that was deleted", 'mkdir gone; cd gone; rmdir "$PWD"')
    yield Oddity("a folder without anything", "mkdir -p empty; cd empty")
    yield Oddity("umask 777", "umask 777")
    yield Oddity("umask 000", "umask 000")
    yield Oddity("/proc", "cd /proc")
    if os.geteuid() == 0:
        word = str(_NOBODY)
        nobody = ("setpriv", f"--reuid={word}", f"--regid={word}", "--clear-groups")
        yield Oddity("a user without an entry", before=nobody)
        yield Oddity("the same without HOME", before=(*nobody, "env", "-u", "HOME"))
        yield Oddity("a full file system", "cd /full", before=())


def oddities() -> tuple[Oddity, ...]:
    """Return all of them."""
    return (*_limits(), *_streams(), *_variables(), *_places())


def repx_variables() -> list[str]:
    """Return the variables of repx's own that its code, its templates or the runner name."""
    found = {"_REPX_COMPLETE"}
    for folder in ("repx", "repx_py", "templates"):
        for path in (_ROOT / folder).rglob("*"):
            if path.suffix in (".py", ".sh", ".j2"):
                found |= set(re.findall(r"\bREPX_[A-Z_]+[A-Z]\b", path.read_text()))
    return sorted(found)


def run(budget: int, seed: int) -> Verdict:
    """Run ``budget`` commands, each in other surroundings; return what was broken."""
    verdict = Verdict()
    pairs = [(odd, words) for odd in oddities() for words in COMMANDS]
    chance = random.Random(seed)
    chance.shuffle(pairs)
    with _study(verdict) as (study, full):
        (job,) = sorted(path.name for path in study.store.glob("outputs/*-second-*"))[:1]
        for number in range(budget):
            odd, words = pairs[number % len(pairs)]
            made_here = f"new-{number}"
            verdict.attacks += 1
            _try(study, odd, [word.format(job=job, new=made_here) for word in words], full, verdict)
            shutil.rmtree(study.folder / made_here, ignore_errors=True)
        study.wait_for_quiet(verdict)
        study.check_end(verdict)
        if list(study.folder.rglob("HACKED")):
            verdict.rude += 1
            verdict.notes.append("a variable was run as a command")
    return verdict


@contextlib.contextmanager
def _study(verdict: Verdict) -> Iterator[tuple[Study, Path]]:
    """Give a project that has run, and a folder without any room."""
    with made() as study:
        study.finish(study.start("run", work_s=0), verdict)
        full = study.folder / "full"
        full.mkdir()
        mounted = False
        if os.geteuid() == 0:
            for path in (study.folder, *study.folder.rglob("*")):
                os.chown(path, _NOBODY, _NOBODY, follow_symlinks=False)
            size = ["mount", "-t", "tmpfs", "-o", "size=4k,nr_inodes=2", "tmpfs", str(full)]
            mounted = subprocess.run(size, check=False).returncode == 0
            if mounted:
                with contextlib.suppress(OSError), (full / "all").open("wb") as file:
                    file.write(b"x" * 8192)
        try:
            yield study, full
        finally:
            if mounted:
                subprocess.run(["umount", "-l", str(full)], check=True)


def _try(study: Study, odd: Oddity, words: list[str], full: Path, verdict: Verdict) -> None:
    env = study.env(0)
    for name, value in odd.env.items():
        if value is None:
            env.pop(name, None)
        else:
            env[name] = str(full) + value[5:] if value.startswith("/full") else value
    bash = odd.bash.replace("/full", str(full))
    start = [*odd.before, shutil.which("bash") or "bash", "-c", f'{bash}\nexec "$@"', "bash"]
    argv = [*start, sys.executable, "-m", "repx", *words]
    screen, there = pty.openpty() if odd.leaves else (None, None)
    process = subprocess.Popen(
        argv,
        cwd=study.folder,
        env=env,
        stdin=there or subprocess.DEVNULL,
        stdout=there or subprocess.PIPE,
        stderr=there or subprocess.STDOUT,
        start_new_session=True,
        text=True,
        errors="replace",
    )
    said = ""
    what = f"{odd.name}: repx {' '.join(words)}"
    try:
        if screen is not None and there is not None:
            os.close(there)
            os.close(screen)
            process.wait(_SECONDS)
        else:
            said = process.communicate(timeout=_SECONDS)[0]
    except subprocess.TimeoutExpired:
        verdict.stuck += 1
        verdict.notes.append(f"{what}: stuck")
        process.kill()
        study.kill_all()
        process.communicate()
        return
    _judge(odd, process.returncode, said, what, verdict)


def _judge(odd: Oddity, code: int, said: str, what: str, verdict: Verdict) -> None:
    why = ""
    if "Traceback" in said or code == BUG:
        why = "a traceback"
    elif code not in _CODES and "fork" not in said and "bash:" not in said:
        why = "an exit code that means nothing"
    elif code in (2, 3) and "error: " not in said and not odd.silent:
        why = "no error"
    if why:
        verdict.rude += 1
        verdict.notes.append(f"{what}: {why}, exit {code}: {said[-700:]}")
