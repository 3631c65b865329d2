"""Lines of bash made plain enough for the parser, which does not know all of bash.

What it cannot read (tests, arithmetic, arrays, `case`) is overwritten by something that it can,
of the same length, so that places stay what they were. Commands inside of what is overwritten
are kept aside, as pieces of their own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_WORD = re.compile(r"[A-Za-z0-9_./:@%+,-]+")
_ARRAY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\[[^\]\n]*\])?\+?=\(")
_ELEMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?=\[)")
_DESCRIPTOR = re.compile(r"\{[A-Za-z_][A-Za-z0-9_]*\}(?=[<>])")
_HEREDOC = re.compile(r"<<(-?)[ \t]*(?:(['\"])([^\n]*?)\2|(\\)?([A-Za-z0-9_.-]+))")
# After these words a command may begin.
_BEFORE_COMMANDS = frozenset({"!", "do", "elif", "else", "if", "then", "until", "while", "{"})
_OVERWRITTEN = (
    (re.compile(r"time(?:[ \t]+-p)?(?:[ \t]+--)?(?=\s)"), ""),
    (re.compile(r"coproc(?:[ \t]+[A-Za-z_][A-Za-z0-9_]*(?=[ \t]*[{(]))?(?=\s)"), ""),
    (re.compile(r"select(?=\s)"), "for"),
)
_SEPARATORS = ";&|()"
_CLAUSE_END = re.compile(r";;&?|;&")
_TEST = re.compile(r"\[\[(?=\s)")
_FOR = re.compile(r"for\s*\(\(")
_CASE = re.compile(r"case\s")
_SPACE = re.compile(r"(?:\s|#[^\n]*)*")


@dataclass
class Plain:
    """The text while it is made plain: ``pieces`` are what was kept aside, with their places."""

    chars: list[str]
    pieces: list[tuple[int, str]] = field(default_factory=list)

    @property
    def text(self) -> str:
        """Return the text as it is now."""
        return "".join(self.chars)

    def blank(self, start: int, end: int, by: str = "", fill: str = " ") -> None:
        """Overwrite a part; line breaks stay, so that lines keep their numbers."""
        for index in range(start, end):
            new = by[index - start] if index - start < len(by) else fill
            self.chars[index] = "\n" if self.chars[index] == "\n" and fill == " " else new


class UnclosedError(Exception):
    """A quotation or bracket does not end; bash would have said so before."""


def plain(lines: str) -> Plain:
    """Return the lines made plain. Raises UnclosedError."""
    found = Plain(list(lines))
    _Scanner(found).commands(0, None)
    return found


class _Scanner:
    """Walks through commands once, from left to right. Methods return the place behind a part."""

    def __init__(self, plain: Plain) -> None:
        self._plain = plain
        self._source = plain.text
        self._heredocs: list[re.Match[str]] = []
        self._begins = True  # whether a command may begin here
        self._tokens = (
            self._space,
            self._line_end,
            self._arithmetic,
            self._separator,
            self._comment,
            self._keyword,
            self._array,
            self._element,
            self._descriptor,
            self._heredoc,
        )
        self._parts = (
            (("\\",), self._escape),
            (("'", "$'"), self._single),
            (('"',), self._double),
            (("$((", "$["), self._sum),
            (("$(", "<(", ">(", "`"), self._substitution),
            (("${",), self._expansion),
            (("?(", "*(", "+(", "@(", "!("), self._glob),
        )

    def commands(self, at: int, end: str | None) -> int:
        """Walk through commands up to ``end`` (``)``, `` ` `` or ``;;``); return its place."""
        before, self._begins = self._begins, True
        while at < len(self._source):
            if end is not None and self._ends(at, end):
                self._begins = before
                return at
            at = self._step(at)
        if end is not None:
            raise UnclosedError(end)
        return at

    def _ends(self, at: int, end: str) -> bool:
        if end == ";;":
            ended = self._begins and self._word(at) == "esac"
            return ended or _CLAUSE_END.match(self._source, at) is not None
        return self._source.startswith(end, at)

    def _step(self, at: int) -> int:
        """Walk over one token."""
        for token in self._tokens:
            stop = token(at)
            if stop is not None:
                return stop
        self._begins = False
        return self._part(at)

    # --- tokens: each returns None where it does not stand ------------------------------------

    def _space(self, at: int) -> int | None:
        if self._source.startswith("\\\n", at):
            return at + 2
        return at + 1 if self._source[at] in " \t" else None

    def _line_end(self, at: int) -> int | None:
        if self._source[at] != "\n":
            return None
        self._begins = True
        return self._heredoc_texts(at + 1)

    def _arithmetic(self, at: int) -> int | None:
        if not (self._begins and self._source.startswith("((", at)):
            return None
        return self._overwrite(at, self._closing(at, "((", "))"), " :")

    def _separator(self, at: int) -> int | None:
        if self._source[at] not in _SEPARATORS:
            return None
        self._begins = True
        return at + 1

    def _comment(self, at: int) -> int | None:
        if self._source[at] != "#" or not self._after_space(at):
            return None
        stop = self._line_stop(at)
        self._plain.blank(at, stop)
        return stop

    def _keyword(self, at: int) -> int | None:
        """Walk over a word that only means something where a command begins."""
        if not self._begins:
            return None
        if _TEST.match(self._source, at):
            return self._overwrite(at, self._closing(at, "[[", "]]"), ":")
        if match := _FOR.match(self._source, at):
            return self._overwrite(at, self._closing(match.end() - 2, "((", "))"), "while :")
        if match := _CASE.match(self._source, at):
            self._begins = False
            return self._case(at, match.end())
        for pattern, by in _OVERWRITTEN:
            if match := pattern.match(self._source, at):
                self._plain.blank(at, match.end(), by)
                return match.end()
        word = self._word(at) or self._source[at]
        if word == "do":
            self._end_condition(at)
        return at + len(word) if word in _BEFORE_COMMANDS else None

    def _end_condition(self, at: int) -> None:
        """Write `while x; do` where a line break stands, at which the parser stops."""
        chars = self._plain.chars
        last = at - 1
        while last >= 0 and chars[last].isspace():
            last -= 1
        if last >= 0 and chars[last] not in ";&" and "\n" in chars[last:at]:
            chars[chars.index("\n", last)] = ";"

    def _array(self, at: int) -> int | None:
        match = _ARRAY.match(self._source, at)
        if match is None or not self._after_space(at):
            return None
        stop = self._closing(match.end() - 1, "(", ")")
        self._plain.blank(match.end() - 1, stop, fill="x")
        return stop

    def _element(self, at: int) -> int | None:
        """Make `name[index]=` a plain assignment."""
        match = _ELEMENT.match(self._source, at)
        if match is None or not self._after_space(at):
            return None
        stop = self._closing(match.end(), "[", "]")
        if not self._source.startswith(("=", "+="), stop):
            return None
        self._plain.blank(match.end(), stop, fill="x")
        return stop

    def _descriptor(self, at: int) -> int | None:
        """Blank `{name}` before a redirection."""
        match = _DESCRIPTOR.match(self._source, at)
        if match is None or not self._after_space(at):
            return None
        self._plain.blank(at, match.end())
        return match.end()

    def _heredoc(self, at: int) -> int | None:
        if self._source.startswith("<<<", at):
            return at + 3
        match = _HEREDOC.match(self._source, at)
        if match is None:
            return None
        self._heredocs.append(match)
        start = at
        while start and self._source[start - 1].isdigit():
            start -= 1  # the number of a descriptor
        self._plain.blank(start if self._after_space(start) else at, match.end())
        return match.end()

    # --- what a token may consist of ------------------------------------------------------------

    def _part(self, at: int, *, keep: bool = False) -> int:
        """Walk over one character, quotation, expansion or substitution.

        ``keep`` says that what is around it will be overwritten, so commands in it are kept.
        """
        for prefixes, method in self._parts:
            if self._source.startswith(prefixes, at):
                return method(at, keep=keep)
        return at + 1

    def _escape(self, at: int, *, keep: bool) -> int:
        del keep
        return at + 2

    def _single(self, at: int, *, keep: bool) -> int:
        del keep
        escapes = self._source[at] == "$"
        at += 2 if escapes else 1
        while self._char(at, "'") != "'":
            at += 2 if escapes and self._source[at] == "\\" else 1
        return at + 1

    def _double(self, at: int, *, keep: bool) -> int:
        at += 1
        while (char := self._char(at, '"')) != '"':
            at = self._part(at, keep=keep) if char in "\\$`" else at + 1
        return at + 1

    def _sum(self, at: int, *, keep: bool) -> int:
        """Make arithmetic a parameter: what it gives is not known."""
        del keep
        brackets = ("[", "]") if self._source[at + 1] == "[" else ("((", "))")
        stop = self._closing(at + 1, *brackets)
        self._plain.blank(at + 1, stop, fill="1")
        return stop

    def _substitution(self, at: int, *, keep: bool) -> int:
        """Keep the commands aside; what they give becomes a parameter, or a file's name."""
        del keep
        end = "`" if self._source[at] == "`" else ")"
        start = at + (1 if end == "`" else 2)
        stop = self.commands(start, end)
        piece = "".join(self._plain.chars[start:stop])
        # Backticks in backticks are escaped.
        self._plain.pieces.append((start, piece.replace("\\`", " `") if end == "`" else piece))
        self._plain.blank(at, stop + 1, "x" if self._source[at] in "<>" else "$", fill="1")
        return stop + 1

    def _expansion(self, at: int, *, keep: bool) -> int:
        del keep  # the parser does not look into it
        at += 2
        while self._char(at, "}") != "}":
            at = self._part(at, keep=True)
        return at + 1

    def _glob(self, at: int, *, keep: bool) -> int:
        if keep:
            return at + 1
        stop = self._closing(at + 1, "(", ")")
        self._plain.blank(at, stop, fill="x")
        return stop

    # --- what is overwritten --------------------------------------------------------------------

    def _case(self, at: int, word: int) -> int:
        """Make a ``case`` one group of commands."""
        stop = self._until_in(word)
        self._plain.blank(at, stop, "{ true;")
        while True:
            start = self._skip_space(stop)
            if self._word(start) == "esac":
                self._plain.blank(start, start + 4, "}")
                return start + 4
            paren = self._pattern_end(start)
            self._plain.blank(start, paren + 1, ":;")
            stop = self.commands(paren + 1, ";;")
            if match := _CLAUSE_END.match(self._source, stop):
                end = match.end()
                self._plain.blank(stop, end)
                self._plain.chars[stop] = "\n"
                stop = end

    def _until_in(self, at: int) -> int:
        while not (self._word(at) == "in" and self._source[at - 1].isspace()):
            self._char(at, "in")
            at = self._part(at, keep=True)
        return at + 2

    def _skip_space(self, at: int) -> int:
        match = _SPACE.match(self._source, at)
        return match.end() if match else at

    def _pattern_end(self, at: int) -> int:
        if self._source.startswith("(", at):
            at += 1
        while self._char(at, "esac") != ")":
            at = self._part(at, keep=True)
        return at

    def _heredoc_texts(self, at: int) -> int:
        """Blank the texts that follow a line, and keep what unquoted ones call."""
        heredocs, self._heredocs = self._heredocs, []
        for heredoc in heredocs:
            start, at = at, self._text_end(at, heredoc)
            place = at if heredoc[2] or heredoc[4] else start
            while place < at:
                called = self._source[place] in "\\$`"
                place = self._part(place, keep=True) if called else place + 1
            self._plain.blank(start, at)
        return at

    def _text_end(self, at: int, heredoc: re.Match[str]) -> int:
        while at < len(self._source):
            line, _, _ = self._source[at:].partition("\n")
            at = min(at + len(line) + 1, len(self._source))
            if (line.lstrip("\t") if heredoc[1] else line) == (heredoc[3] or heredoc[5] or ""):
                break
        return at

    def _overwrite(self, start: int, stop: int, by: str) -> int:
        self._begins = False
        self._plain.blank(start, stop, by)
        return stop

    def _closing(self, at: int, opening: str, closing: str) -> int:
        """Return the place behind the bracket that closes the one here; keep what is called."""
        at += len(opening)
        while not self._source.startswith(closing, at):
            if opening == "(" and self._char(at, closing) == "#" and self._after_space(at):
                at = self._line_stop(at)  # a comment in an array
            elif self._char(at, closing) == "(":
                at = self._closing(at, "(", ")")
            else:
                at = self._part(at, keep=True)
        return at + len(closing)

    # --- looking ----------------------------------------------------------------------------------

    def _word(self, at: int) -> str:
        match = _WORD.match(self._source, at)
        return match.group() if match else ""

    def _line_stop(self, at: int) -> int:
        stop = self._source.find("\n", at)
        return len(self._source) if stop < 0 else stop

    def _after_space(self, at: int) -> bool:
        return at == 0 or self._source[at - 1] in " \t;&|()\n"

    def _char(self, at: int, wanted: str) -> str:
        if at >= len(self._source):
            raise UnclosedError(wanted)
        return self._source[at]
