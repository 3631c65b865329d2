"""A program of a job file that needs no shell: its command, inputs and required outputs."""

from __future__ import annotations

import contextlib
import os
import re

from repx.runner import files, jobfile, remains, room
from repx.runner.jobfile import NeedsShell

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from repx.runner.room import Room

BASH_SCRIPT: Final = b"#!/usr/bin/env bash\n"
PATH: Final = b"/usr/bin:/bin"  # if the environment has none
PER_RUNG: Final = 3  # cpus, mem and time
VALUE_MOST: Final = 100_000  # bytes of a secret; Linux takes 128 KiB with the name
STARTER: Final = re.compile(rb"[A-Za-z0-9:._-]+")  # valid values of REPX_BY


class Program:
    """A program as its job file describes it, and the environment it gets."""

    def __init__(
        self,
        values: dict[str, bytes | list[bytes]],
        given: dict[bytes, bytes],
        mark: bytes,
        inside: Room | None = None,
    ) -> None:
        """Take the values of a job file. Raises NeedsShell if the job needs bash, or KeyError."""
        words: dict[str, list[bytes]] = {k: v for k, v in values.items() if isinstance(v, list)}
        text: dict[str, bytes] = {k: v for k, v in values.items() if isinstance(v, bytes)}
        if any(map(os.path.lexists, words.get("later", ()))):
            raise NeedsShell
        self.job, self.unit, self.store = text["job"], text["unit"], text["store"]
        self.submission = text["submission"]
        started_by = os.environb.get(b"REPX_BY", b"")
        self.by = started_by if STARTER.fullmatch(started_by) else text["scheduler"]
        self.out = text["folder"] + b"/out"
        self.outputs, self.needs = words["outputs"][1::2], words["needs"][1::2]
        self.asks, self.durable = words["asks"], text["durability"] == b"full"
        self.asked_gpus = text["asked_gpus"]
        self.texts = [(text["inputs_file"], text["inputs"])]
        if text["parameters_file"]:
            self.texts.append((text["parameters_file"], text["parameters"]))
        self.environment = {**given, b"PWD": self.out, remains.VARIABLE: mark}
        pairs = words["environment"]
        self.environment.update(zip(pairs[::2], pairs[1::2]))
        if text["path"]:
            rest = self.environment.get(b"PATH", PATH)
            self.environment[b"PATH"] = text["path"] + b":" + rest
        for name, kind, source in zip(*(words["secrets"][i::PER_RUNG] for i in range(PER_RUNG))):
            self.environment[name] = secret(kind, source, given)
        self.executable = text["executable"]
        self.command = inside.command if inside else words["command"]
        self.members = inside.members if inside else b""  # of its SUCCESS
        self.spared = inside.spared if inside else 0
        self.path = self._find()

    @classmethod
    def read(
        cls, folder: bytes, path: bytes, branch: bytes, given: dict[bytes, bytes], mark: bytes
    ) -> Program:
        """Read a job file of the submission ``folder``.

        ``given`` is the environment, ``mark`` the unit's (``remains.mark``).

        Raises OSError; NeedsShell when bash must run the job, or must report what is wrong.
        """
        text = files.read(path)
        try:
            values = jobfile.read(text, branch)
            program = cls(values, given, mark, room.of(values, folder) if values["room"] else None)
        except (KeyError, IndexError):
            raise NeedsShell from None
        works = os.access(program.executable, os.X_OK) and not os.path.isdir(program.executable)
        if not works or not all(map(os.path.exists, program.needs)):
            raise NeedsShell
        return program

    def _find(self) -> bytes:
        """Return the path of the program to start. Raises NeedsShell when there is none."""
        if self.command[0] == self.executable and files.starts_with(self.executable, BASH_SCRIPT):
            # The same as `env bash`, with one process start less.
            self.command = [b"bash", *self.command]
        found = files.find(self.command[0], self.environment.get(b"PATH", PATH))
        if found is None:
            raise NeedsShell
        return found

    def is_complete(self) -> bool:
        """Tell whether every output exists."""
        return all(map(os.path.exists, self.outputs))

    def flush(self) -> None:
        """Flush the outputs to the disk. Raises LostError."""
        texts = [path for path, _ in self.texts] if self.unit != b"main" else []  # a phase's input
        for path in (*texts, *self.outputs, self.out):
            files.flush(path)
        files.flush_one(os.path.dirname(self.out))

    def asked(self, rung: int) -> list[bytes]:
        """Return the cpus, memory and time that the program was given, as JSON."""
        last = len(self.asks) - PER_RUNG
        start = min(rung * PER_RUNG, last)
        return self.asks[start : start + PER_RUNG]

    def complete(self) -> None:
        """Append the line that RepX 0.5 reads after a success; a hint, so errors are ignored."""
        if self.unit == b"main":
            name = self.job.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
            with contextlib.suppress(OSError):
                line = b'{"id":"%b","s":"ok"}\n' % name
                files.append(self.store + b"/outputs/completions.jsonl", line)


def secret(kind: bytes, source: bytes, given: dict[bytes, bytes]) -> bytes:
    """Return a value kept only on the target. Raises NeedsShell if missing: bash reports it."""
    if kind == b"env":
        if source not in given:
            raise NeedsShell
        return given[source]
    if source.startswith(b"~/"):
        source = given.get(b"HOME", b"") + source[1:]
    if not os.path.isfile(source):  # a pipe would block
        raise NeedsShell
    try:
        with open(source, "rb") as stream:
            value = stream.read(VALUE_MOST).rstrip(b"\n")
    except OSError:
        raise NeedsShell from None
    if b"\0" in value or len(value) >= VALUE_MOST:
        raise NeedsShell
    return value
