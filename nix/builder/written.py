"""Where the lines of a script stand in the file of Nix that wrote them.

Nix tells the row at which `run` begins. The lines follow in a string, but what is interpolated
may have many lines or none, so each line is looked for: the rows are read as patterns in which
an interpolation stands for any text.
"""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_FAR = 200  # rows that one interpolation may take up
_MOST_STRINGS = 5  # that are tried: `run` may have a `let` with strings of its own
_QUOTES = "''"
_ATTRIBUTE = re.compile(r"\s*[A-Za-z_][A-Za-z0-9_'-]*\s*=[^=]")
_LET = re.compile(r"\blet\b")


def rows(definition: str, start: int, lines: str) -> list[int]:
    """Return the row (from 1) of each line; ``start`` is the row of `run`, 0 for none.

    Every row is ``start`` where the lines are not a string that begins there.
    """
    texts = [text.strip() for text in lines.split("\n")]
    best, most = [start] * len(texts), 0
    if not start:
        return best
    source = definition.split("\n")
    pieces = [_pieces(row) for row in source]
    for first in _strings(source, start):
        found, count = _aligned(texts, source, pieces, first - 1)
        if count > most:
            best, most = found, count
    return best


def _strings(source: Sequence[str], start: int) -> list[int]:
    """Return the rows at which strings begin, up to the next attribute."""
    found: list[int] = []
    named = False
    for row in range(start, min(start + _FAR, len(source)) + 1):
        text = source[row - 1]
        named = named or bool(_LET.search(text))
        if row > start and not named and _ATTRIBUTE.match(text):
            break
        _, quotes, rest = text.partition(_QUOTES)
        if quotes:
            found.append(row if rest.strip() else row + 1)
        if len(found) == _MOST_STRINGS or (found and not named):
            break
    return found


def _aligned(
    texts: Sequence[str],
    source: Sequence[str],
    pieces: Sequence[Sequence[str] | None],
    before: int,
) -> tuple[list[int], int]:
    """Return the rows of lines that begin behind row ``before``, and how many were recognised."""
    known = [(-1, before)]
    for index, text in enumerate(texts):
        row = _next(text, pieces, known[-1][1]) if text else None
        if row is not None:
            known.append((index, row))
    count = len(known) - 1
    if not texts[-1]:
        known.append((len(texts) - 1, _closing(source, known[-1][1])))
    known.append((len(texts), known[-1][1] + 1))
    found: list[int] = []
    for (start, above), (stop, below) in itertools.pairwise(known):
        # As many rows as lines: one for each. Else an interpolation made them.
        one_each = stop - start == below - above
        rows = (above + (step if one_each else 1) for step in range(1, stop - start))
        found += [min(row, len(source)) for row in rows]
        found.append(below)
    return found[:-1], count


def _next(text: str, pieces: Sequence[Sequence[str] | None], above: int) -> int | None:
    """Return the next row that can have made a line."""
    for row in range(above + 1, min(above + _FAR, len(pieces)) + 1):
        found = pieces[row - 1]
        if found is not None and _fits(text, found):
            return row
    return None


def _closing(source: Sequence[str], above: int) -> int:
    """Return the row that ends a string, or the next one where none does."""
    for row in range(above + 1, min(above + _FAR, len(source)) + 1):
        if re.match(r"\s*''(?![$'\\}])", source[row - 1]):
            return row
    return min(above + 1, len(source))


def _pieces(row: str) -> Sequence[str] | None:
    """Return the texts around a row's interpolations; None where the row could be anything."""
    opening = re.match(r"[^'\"]*''(?=\S)", row)  # `run = { ... }: ''first line`
    text = (row[opening.end() :] if opening else row).strip()
    pieces = [""]
    at = 0
    while at < len(text):
        if text.startswith("''$", at):
            pieces[-1] += "$"
            at += 3
        elif text.startswith("'''", at):
            pieces[-1] += _QUOTES
            at += 3
        elif text.startswith(_QUOTES, at):
            break  # the string ends
        elif text.startswith("${", at):
            pieces.append("")
            at = _behind(text, at + 2)
        else:
            pieces[-1] += text[at]
            at += 1
    pieces[-1] = pieces[-1].rstrip()
    return pieces if "".join(pieces).strip() else None


def _fits(text: str, pieces: Sequence[str]) -> bool:
    """Return whether a line is the pieces with anything between them."""
    if len(pieces) == 1:
        return text == pieces[0]
    first, *middle, last = pieces
    end = len(text) - len(last)
    if not (text.startswith(first) and text.endswith(last) and len(first) <= end):
        return False
    at = len(first)
    for piece in middle:
        at = text.find(piece, at, end)
        if at < 0:
            return False
        at += len(piece)
    return True


def _behind(text: str, at: int) -> int:
    """Return the place behind an interpolation, which may go on in the next row."""
    depth = 1
    while at < len(text) and depth:
        depth += {"{": 1, "}": -1}.get(text[at], 0)
        at += 1
    return at
