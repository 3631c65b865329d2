"""Read a job file, by the few rules by which ``repx/job_file.py`` writes it.

A job file begins with assignments, one per line: a name that begins with ``repx_``, ``=``, and a
word or words in brackets. A word is made of pieces without a gap: plain characters, single-quoted
text, a quoted quote, or ``"$1"``, the number of the branch. Then comes the constant tail. A file
with any other line, from a site's template or added by hand, is left to bash.
"""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

FORMAT: Final = b"1"
TAIL: Final = b"""
case $0 in /*) repx_here=${0%/*} ;; */*) repx_here=$PWD/${0%/*} ;; *) repx_here=$PWD ;; esac
repx_here=$repx_here/$repx_above
. "$repx_here/lib.sh" && repx_main "$@"
"""
NAME: Final = re.compile(rb"repx_([a-z_]+)=")
PIECE: Final = re.compile(rb"([A-Za-z0-9@%+=:,./_-]+)|'([^']*)'|\"(')\"|\"\$(1)\"")
PLAIN, QUOTED, QUOTE, BRANCH = 1, 2, 3, 4  # the groups of PIECE


class NeedsShell(Exception):  # noqa: N818  # not an error: bash does it
    """The job needs bash."""


def read(text: bytes, branch: bytes = b"") -> dict[str, bytes | list[bytes]]:
    """Return a job file's values by name, without ``repx_``. Raises NeedsShell."""
    values, at = assignments(text, branch)
    if text[at:] != TAIL or values.get("format") != FORMAT:
        raise NeedsShell
    return values


def assignments(text: bytes, branch: bytes = b"") -> tuple[dict[str, bytes | list[bytes]], int]:
    """Return the values of assignments by name, without ``repx_``, and the position of their end.

    They end at an empty line or at the end of the text. Raises NeedsShell.
    """
    values: dict[str, bytes | list[bytes]] = {}
    at = 0
    while at < len(text) and not text.startswith(b"\n", at):
        if text.startswith(b"#", at):
            at = text.find(b"\n", at) + 1 or len(text)
            continue
        name = NAME.match(text, at)
        if name is None:
            raise NeedsShell
        at = name.end()
        value: bytes | list[bytes]
        if text.startswith(b"(", at):
            value, at = _words(text, at + 1, branch)
        else:
            value, at = _word(text, at, branch)
        if not text.startswith(b"\n", at):
            raise NeedsShell
        at += 1
        values[name[1].decode()] = value
    return values, at


def _words(text: bytes, at: int, branch: bytes) -> tuple[list[bytes], int]:
    """Return the words up to a closing bracket, and the position after it."""
    found: list[bytes] = []
    while not text.startswith(b")", at):
        start = at
        word, at = _word(text, at, branch)
        if at == start:
            raise NeedsShell
        found.append(word)
        if text.startswith(b" ", at):
            at += 1
        elif not text.startswith(b")", at):
            raise NeedsShell
    return found, at + 1


def _word(text: bytes, at: int, branch: bytes) -> tuple[bytes, int]:
    """Return a word, which may be empty, and the position after it."""
    pieces: list[bytes] = []
    while piece := PIECE.match(text, at):
        at = piece.end()
        kind = piece.lastindex
        if kind == BRANCH:
            if not branch:
                raise NeedsShell
            pieces.append(branch)
        else:
            pieces.append(piece[kind or PLAIN])
    return b"".join(pieces), at
