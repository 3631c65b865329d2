"""The commands that lines of bash call, found by a parser."""

from __future__ import annotations

import itertools
from typing import Any

import bashlex

from nix.builder import plain, wrappers

_TOO_DEEP = "parts are nested too deeply"


class NotUnderstoodError(Exception):
    """The parser cannot read the lines, though bash may."""

    def __init__(self, message: str, line: int) -> None:
        """Note the line (from 1) at which the parser stopped."""
        super().__init__(message)
        self.line = line


def words(lines: str) -> list[tuple[str, int]]:
    """Return each external or builtin command with its first line; functions are left out.

    Raises NotUnderstoodError.
    """
    try:
        found_plain = plain.plain(lines)
    except plain.UnclosedError as error:
        raise NotUnderstoodError(f"a part does not end: {error}", 1) from None
    except RecursionError:
        raise NotUnderstoodError(_TOO_DEEP, 1) from None
    pieces = [(0, found_plain.text), *found_plain.pieces]
    placed = [(start, node) for start, text in pieces for node in _nodes(text, start, lines)]
    functions = {node.name.word for _, node in placed if node.kind == "function"}
    found: dict[str, int] = {}
    for start, node in placed:
        if node.kind == "command":
            for word in _called(node):
                if word.word not in functions:
                    found.setdefault(word.word, lines.count("\n", 0, start + word.pos[0]) + 1)
    return list(found.items())


def _nodes(text: str, start: int, lines: str) -> list[Any]:
    """Return every node of a piece of the lines that begins at ``start``."""
    if not text.strip():
        return []
    try:
        trees = bashlex.parse(text)
    except bashlex.errors.ParsingError as error:
        line = lines.count("\n", 0, start + error.position) + 1
        raise NotUnderstoodError(f"the parser stops: {error.message}", line) from None
    except RecursionError:
        raise NotUnderstoodError(_TOO_DEEP, 1) from None
    except (NotImplementedError, AttributeError, IndexError, TypeError, AssertionError) as error:
        raise NotUnderstoodError(f"the parser does not know this form: {error}", 1) from None
    return [node for tree in trees for node in _below(tree)]


def _below(node: Any) -> list[Any]:  # noqa: ANN401  # bashlex has no types
    """Return a node and all in it, substitutions in words and redirections too."""
    found = [node]
    for name in ("parts", "list", "redirects"):
        for part in getattr(node, name, None) or ():
            found += _below(part)
    for name in ("command", "output", "body"):
        part = getattr(node, name, None)
        if hasattr(part, "kind"):
            found += _below(part)
    return found


def _called(command: Any) -> list[Any]:  # noqa: ANN401  # bashlex has no types
    """Return the words of a simple command that name what it runs, as far as they are plain."""
    words = [part for part in command.parts if part.kind == "word"]
    plain_words = list(itertools.takewhile(_is_plain, words))
    if not plain_words:
        return []
    if plain_words[0].word == "find":  # what it executes stands behind its own options
        plain_words = words
    places = wrappers.wrapped([word.word for word in plain_words])
    return [plain_words[0], *(words[each] for each in places if _is_name(words[each]))]


def _is_plain(word: Any) -> bool:  # noqa: ANN401  # bashlex has no types
    return bool(word.word) and not word.parts and word.word[0] not in "$`"


def _is_name(word: Any) -> bool:  # noqa: ANN401  # bashlex has no types
    """Return whether a word names a command; find and xargs put something in place of `{}`."""
    return _is_plain(word) and "{}" not in word.word
