"""What a job file says, read by the few rules by which it is written (``repx/job_file.py``).

A head of assignments, one a line: a name that begins with ``repx_``, ``=``, and a word or words in
brackets. A word is pieces without a gap: plain characters, a single-quoted text, a quoted quote,
or ``"$1"``, which is the branch's number. Then the constant tail. Whatever else stands there, a
site's own lines or what a person has added, is for bash.
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
PLAIN, QUOTED, QUOTE, BRANCH = 1, 2, 3, 4  # the groups of a piece


class NeedsShell(Exception):  # noqa: N818  # not an error: bash does it
    """Something that only bash can deal with."""


def read(text: bytes, branch: bytes = b"") -> dict[str, bytes | list[bytes]]:
    """Return the values of a job file by name, without our prefix. Raises NeedsShell."""
    values, at = assignments(text, branch)
    if text[at:] != TAIL or values.get("format") != FORMAT:
        raise NeedsShell
    return values


def assignments(text: bytes, branch: bytes = b"") -> tuple[dict[str, bytes | list[bytes]], int]:
    """Return what assignments give, one a line, by name without our prefix, and where they end.

    That is at an empty line, if not before. Raises NeedsShell.
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
    """Return the words up to a closing bracket, and the place behind it."""
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
    """Return a word, which may be nothing at all, and the place behind it."""
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
