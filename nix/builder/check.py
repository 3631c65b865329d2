"""Checks one script at build time: syntax, shellcheck's warnings, commands that nothing provides.

Nix starts it with a description of the script; every problem is told with the place in the
user's file, and then the build fails.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nix.builder import commands

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_BASH_LINE = re.compile(r"line (\d+): (.*)$", re.MULTILINE)
# The lines run so; shellcheck must know, or it asks for `cd ... || exit`.
_PREAMBLE = "set -euo pipefail; declare -A inputs=() parameters=() outputs=()\n"
_HINT = "add the package that has it to runDependencies, for example [ pkgs.{} ]"


@dataclass(frozen=True)
class Problem:
    """One mistake, at a line of the script (from 1)."""

    line: int
    message: str


@dataclass(frozen=True)
class Script:
    """What is checked: lines of bash, the folders on their PATH, and where they were written."""

    stage: str
    phase: str
    file: str
    line: int
    definition: str
    lines: str
    path: Sequence[str]

    def place(self, line: int) -> str:
        """Return file, line and stage for a line of the script."""
        where = f"{self.file}:{_written_at(self.definition, self.line, line)}"
        phase = "" if self.phase == "main" else f", {self.phase}"
        return f"{where}: stage '{self.stage}'{phase}"


def _written_at(definition: str, start: int, line: int) -> int:
    """Return the line of the file for a line of the script whose `run` begins at ``start``."""
    for number, text in enumerate(definition.split("\n")[start - 1 :], start):
        before, quotes, rest = text.partition("''")
        if quotes:
            return number + line - (0 if not rest.strip() else 1)
        if before.lstrip().startswith(("outputs", "inputs")) and number > start + 1:
            break
    return start


def problems(script: Script, bash: str, shellcheck: str) -> Iterator[Problem]:
    """Yield what must be changed before the script can run."""
    syntax = list(_syntax(script.lines, bash))
    yield from syntax
    if syntax:
        return
    yield from _shellcheck(script.lines, shellcheck)
    try:
        words = commands.words(script.lines)
    except commands.NotUnderstoodError as error:
        place = script.place(error.line)
        print(f"warning: {place}: commands are not checked: {error}", file=sys.stderr)
        return
    known = _builtins(bash)
    for word, line in words:
        if word not in known and not _provided(word, script.path):
            yield Problem(line, _missing(word, script.path))


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


def _builtins(bash: str) -> set[str]:
    return set(_run([bash, "-c", "compgen -bk"], "").stdout.split())


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


def _told(description: Mapping[str, Any], environment: Mapping[str, str]) -> list[str]:
    if description.get("script"):
        where = f"{description['file']}: stage '{description['stage']}'"
        found = interpreter_problems(description["script"], description["path"])
        return [f"{where}: {message}" for message in found]
    fields = {name: value for name, value in description.items() if name != "script"}
    script = Script(**fields)
    found_problems = problems(script, environment["bash"], environment["shellcheck"])
    return [f"{script.place(each.line)}: {each.message}" for each in found_problems]


def main() -> int:
    """Check the script; exit code 1 when it has a problem."""
    with open(os.environ["descriptionPath"], encoding="utf-8") as stream:
        description = json.load(stream)
    told = _told(description, os.environ)
    for message in told:
        print(f"error: {message}", file=sys.stderr)
    if told:
        return 1
    with open(os.environ["out"], "wb"):
        return 0


if __name__ == "__main__":
    sys.exit(main())
