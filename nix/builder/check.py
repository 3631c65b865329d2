"""Checks a stage when a Lab is built: syntax, shellcheck's warnings, commands nothing provides.

Nix starts it with a description of the stage's programs, for all values of its parameters; every
problem is told with its place in the user's file, and then the build fails.
"""

from __future__ import annotations

import difflib
import functools
import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any

from nix.builder import commands, written

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_BASH_LINE = re.compile(r"line (\d+): (.*)$", re.MULTILINE)
# The lines run so; shellcheck must know, or it asks for `cd ... || exit`.
_PREAMBLE = "set -euo pipefail; declare -A inputs=() parameters=() outputs=()\n"
_PARSER = Lock()  # bashlex keeps what it reads in a global
_HINT = "add the package that has it to runDependencies, for example [ pkgs.{} ]"


@dataclass(frozen=True)
class Problem:
    """One mistake, at a line of the script (from 1)."""

    line: int
    message: str
    is_warning: bool = False


def problems(lines: str, path: Sequence[str], bash: str, shellcheck: str) -> Iterator[Problem]:
    """Yield what must be changed before the lines can run with ``path`` as their PATH."""
    syntax = list(_syntax(lines, bash))
    yield from syntax
    if syntax:
        return
    yield from _shellcheck(lines, shellcheck)
    try:
        with _PARSER:
            words = commands.words(lines)
    except commands.NotUnderstoodError as error:
        yield Problem(error.line, f"commands are not checked: {error}", is_warning=True)
        return
    known = _builtins(bash)
    for word, line in words:
        if word not in known and not _provided(word, path):
            yield Problem(line, _missing(word, path))


def _syntax(lines: str, bash: str) -> Iterator[Problem]:
    done = _run([bash, "-n"], lines)
    if done.returncode != 0 or done.stderr.strip():
        # The second complaint of bash only repeats the line.
        number, message = (_BASH_LINE.findall(done.stderr) or [("1", done.stderr.strip())])[0]
        yield Problem(int(number), f"bash: {message}")


def _shellcheck(lines: str, shellcheck: str) -> Iterator[Problem]:
    options = ("--shell=bash", "--severity=warning", "--exclude=SC2154", "--format=json1", "-")
    done = _run([shellcheck, *options], _PREAMBLE + lines)
    for comment in json.loads(done.stdout)["comments"]:
        if comment["line"] > 1:
            message = f"shellcheck SC{comment['code']}: {comment['message']}"
            yield Problem(comment["line"] - 1, message)


@functools.cache
def _builtins(bash: str) -> set[str]:
    # The bash of nixpkgs has no readline, and without it no `compgen`.
    listed = (line.split() for line in _run([bash, "-c", "enable -a"], "").stdout.splitlines())
    return {words[-1] for words in listed if "-n" not in words}


def _provided(word: str, path: Sequence[str]) -> bool:
    if "/" in word:
        return True  # a path says itself what it is; Nix puts packages there
    return any(os.access(os.path.join(folder, word), os.X_OK) for folder in path)


def _missing(word: str, path: Sequence[str]) -> str:
    there = {name for folder in path if os.path.isdir(folder) for name in os.listdir(folder)}
    near = difflib.get_close_matches(word, sorted(there), n=1, cutoff=0.75)
    meant = f", did you mean '{near[0]}'?" if near else f": {_HINT.format(word)}"
    return f"nothing provides the command '{word}'{meant}"


def interpreter_problems(program: str, path: Sequence[str]) -> Iterator[str]:
    """Yield what is wrong with the first line of a program file."""
    with open(program, "rb") as stream:
        first = stream.readline(256).decode(errors="replace").rstrip()
    words = first[2:].split() if first.startswith("#!") else []
    if not words:
        yield "it does not say its language: begin it with a line like `#!/usr/bin/env python3`"
    elif os.path.basename(words[0]) == "env" and not _provided(words[-1], path):
        yield _missing(words[-1], path)


def _run(argv: Sequence[str], stdin: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, input=stdin, capture_output=True, check=False, encoding="utf-8")


def _told(
    stage: str, program: Mapping[str, Any], definition: str, environment: Mapping[str, str]
) -> list[str]:
    """Return what is wrong with one program of a stage, each with its place."""
    phase = "" if program["phase"] == "main" else f", {program['phase']}"
    who = f"stage '{stage}'{phase}"
    if program["script"]:
        found = interpreter_problems(program["script"], program["path"])
        return [f"error: {program['file']}: {who}: {message}" for message in found]
    lines, tools = program["lines"], (environment["bash"], environment["shellcheck"])
    told = list(problems(lines, program["path"], *tools))
    rows = written.rows(definition, program["line"], lines) if told else []
    return [
        f"{'warning' if each.is_warning else 'error'}: "
        f"{program['file']}:{rows[min(each.line, len(rows)) - 1]}: {who}: {each.message}"
        for each in told
    ]


def main() -> int:
    """Check the programs of a stage; exit code 1 when one has a mistake."""
    with open(os.environ["descriptionPath"], encoding="utf-8") as stream:
        description = json.load(stream)
    # A function of parameters may give the same program for many values.
    programs = {json.dumps(each): each for each in description["programs"]}.values()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = pool.map(
            lambda each: _told(
                description["stage"],
                each,
                description["definitions"][each["definition"]],
                os.environ,
            ),
            programs,
        )
        told = dict.fromkeys(message for messages in found for message in messages)
    for message in told:
        print(message, file=sys.stderr)
    if any(message.startswith("error") for message in told):
        return 1
    with open(os.environ["out"], "wb"):
        return 0


if __name__ == "__main__":
    sys.exit(main())
