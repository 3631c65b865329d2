"""What a plain job script says, so that it can be done without a shell."""

from __future__ import annotations

import os
import re
import zlib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

LIBRARY: Final = 0xC04CE8D2  # crc32 of the lib.sh whose ways this file follows

# What shlex.quote writes, and the rest of templates/job.sh.j2 around it.
WORD = rb"(?:[A-Za-z0-9@%+=:,./_-]+|'[^'\0]*'(?:\"'\"'[^'\0]*')*)"
WORDS = rb"%b(?: %b)*" % (WORD, WORD)
FOLDER = re.escape(
    b"case $0 in /*) folder=${0%/*}/.. ;; */*) folder=$PWD/${0%/*}/.. ;; *) folder=$PWD/.. ;; esac"
)
PLAIN = re.compile(
    rb"""#!/usr/bin/env bash
(?:\#.*
)*%(folder)b
job=(?P<job>%(word)b)
store=(?P<store>%(word)b)
scheduler=(?P<scheduler>[a-z]+)
forced=1?
input_wait_s=\d+
parameters=(?P<parameters>%(word)b)

environment\(\) \{ # runs in the program's own process, right before it
(?P<exports>(?:  export [A-Za-z_][A-Za-z0-9_]*=%(word)b
)*)(?:  export PATH=(?P<host_tools>%(word)b):"\$PATH"
)?  :
\}

main\(\) \{
  executable=(?P<executable>%(word)b)
  command=\((?P<command>%(words)b)\)
  inputs=(?P<inputs>%(word)b)
  needs=\((?P<needs>(?:%(words)b)?)\)
  outputs=\((?P<outputs>(?:%(words)b)?)\)
\}

\. "\$folder/lib\.sh"
main
repx_simple "\$@"
"""
    % {b"folder": FOLDER, b"word": WORD, b"words": WORDS}
)
EACH_WORD = re.compile(WORD)
EXPORT = re.compile(rb"  export ([A-Za-z0-9_]+)=(%b)\n" % WORD)


class NeedsShell(Exception):  # noqa: N818  # not an error: bash does it
    """Something that only the script itself can deal with."""


def unquote(word: bytes) -> bytes:
    """Return what the shell makes of a word of shlex.quote."""
    return word[1:-1].replace(b"'\"'\"'", b"'") if word.startswith(b"'") else word


def words(text: bytes) -> list[bytes]:
    """Return what the shell makes of the words of an array."""
    return [unquote(word) for word in EACH_WORD.findall(text)]


class Script:
    """What a plain job script says."""

    def __init__(self, path: bytes) -> None:
        """Read the script. Raises OSError; NeedsShell when it is not plain."""
        with open(path, "rb", buffering=0) as stream:
            plain = PLAIN.fullmatch(stream.read())
        if plain is None:
            raise NeedsShell
        self.path = path
        self.job, self.store = unquote(plain["job"]), unquote(plain["store"])
        self.home = self.store + b"/outputs/" + self.job
        self.record, self.out = self.home + b"/repx", self.home + b"/out"
        self.scheduler = plain["scheduler"]
        self.executable = unquote(plain["executable"])
        self.command = words(plain["command"])
        self.inputs, self.parameters = unquote(plain["inputs"]), unquote(plain["parameters"])
        self.needs = words(plain["needs"])[1::2]
        self.outputs = words(plain["outputs"])[1::2]
        self.exports = [(name, unquote(value)) for name, value in EXPORT.findall(plain["exports"])]
        self.host_tools = plain["host_tools"] and unquote(plain["host_tools"])

    def environment(self, given: dict[bytes, bytes]) -> dict[bytes, bytes]:
        """Return what the program finds in its environment, of which ``given`` is the start."""
        found = {**given, b"PWD": self.out}
        found.update(self.exports)
        if self.host_tools:
            found[b"PATH"] = self.host_tools + b":" + found.get(b"PATH", os.fsencode(os.defpath))
        return found

    def runner(self) -> bytes:
        """Return ``local`` or ``slurm:ID``."""
        if self.scheduler != b"slurm":
            return self.scheduler
        given = os.environb.get
        array, element = given(b"SLURM_ARRAY_JOB_ID"), given(b"SLURM_ARRAY_TASK_ID")
        known = array or given(b"SLURM_JOB_ID") or b"none"
        return b"slurm:" + known + (b"_" + element if element else b"")


def follows(folder: bytes) -> bool:
    """Tell whether the job scripts in ``folder`` source the lib.sh that this file follows."""
    try:
        with open(folder + b"/jobs/../lib.sh", "rb") as stream:
            return zlib.crc32(stream.read()) == LIBRARY
    except OSError:
        return False
