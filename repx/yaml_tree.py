"""Read YAML, also from untrusted authors, into values with their places.

Scalars follow the core schema of YAML 1.2, so that parameters have the expected types: only
``true`` and ``false`` are booleans (``on``, ``yes``, ``no`` are strings), ``012`` is 12, ``0o12``
is 10, ``1e3`` is the number 1000.0, and ``1:30``, ``1_000`` and dates are strings. Keys are always
strings, as written. Merge keys (``<<: *base``) work as in YAML 1.1.
"""

from __future__ import annotations

import math
import re
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import yaml

from repx.errors import Problem, ProblemsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Place: TypeAlias = tuple[int, int]
_Event: TypeAlias = Any  # yaml.events, which its stubs leave untyped
_Mark: TypeAlias = Any

_MAX_DEPTH: Final = 100
_TOO_DEEP: Final = f"nested deeper than {_MAX_DEPTH} levels"
_MAX_ALIASED: Final = 1_000_000
_OPENING: Final = (yaml.FlowSequenceStartToken, yaml.FlowMappingStartToken)
_CLOSING: Final = (yaml.FlowSequenceEndToken, yaml.FlowMappingEndToken)
_MOST_DIGITS: Final = 310  # the largest float has 309 digits
_TAG: Final = "tag:yaml.org,2002:"
_SCALARS: Final[tuple[tuple[str, re.Pattern[str], Callable[[str], object]], ...]] = (
    ("null", re.compile(r"~|null|Null|NULL|"), lambda _: None),
    ("bool", re.compile(r"true|True|TRUE|false|False|FALSE"), lambda text: text[0] in "tT"),
    ("int", re.compile(r"[-+]?[0-9]+"), int),
    ("int", re.compile(r"0o[0-7]+"), lambda text: int(text, 8)),
    ("int", re.compile(r"0x[0-9a-fA-F]+"), lambda text: int(text, 16)),
    ("float", re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"), float),
    ("float", re.compile(r"[-+]?\.(inf|Inf|INF)"), lambda text: float(text.replace(".", ""))),
    ("float", re.compile(r"\.(nan|NaN|NAN)"), lambda _: math.nan),
)
_NOT_YAML: Final = re.compile("[^\t\n\r -~\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_PLAIN_START: Final = frozenset("~nNtTfF.+-0123456789")


@dataclass(slots=True, kw_only=True)
class Node:
    """One value: its data, its place and, by key or index, the place of each child's key.

    ``size`` counts the values below it with aliases written out.
    """

    data: Any
    place: Place
    size: int = 1
    children: dict[str | int, tuple[Place, Node]] = field(default_factory=dict)


def parse(text: str, file: str, problems: list[Problem] | None = None) -> Node:
    """Return the only document of ``text``. Raises ProblemsError with every mistake found.

    With ``problems``, mistakes that leave the rest readable are added there instead.
    """
    composer = _Composer(text, file)
    try:
        root = composer.document()
    except yaml.MarkedYAMLError as error:
        composer.syntax(error)
    except _StopReadingError:
        pass
    else:
        if problems is not None:
            problems += composer.problems
        if problems is not None or not composer.problems:
            return root
    raise ProblemsError(composer.problems)


class _StopReadingError(Exception):
    """A reported problem makes the rest of the text unreadable."""


class _Composer:
    """Turn the parser's events into nodes, collecting problems; used once per text."""

    def __init__(self, text: str, file: str) -> None:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        self.problems: list[Problem] = []
        self._text = text
        self._file = file
        self._events: Iterator[_Event] = yaml.parse(text, Loader=loader)
        self._anchors: dict[str, Node | None] = {}
        self._aliased = 0
        self._open = 0  # number of open collections
        self._read = 0  # position of the events in the text

    def report(self, place: Place, message: str) -> None:
        """Note one problem and continue."""
        self.problems.append(Problem(self._file, *place, message))

    def syntax(self, error: yaml.MarkedYAMLError) -> None:
        """Note a mistake that the YAML parser found; common mistakes get a fix."""
        place = _place(error.problem_mark or error.context_mark)
        line = "".join(self._text.split("\n")[place[0] - 1 : place[0]])
        indent = line[: len(line) - len(line.lstrip())]
        problem = error.problem or "not YAML"
        if too_deep := self._too_deep_before(error):
            place, problem = too_deep, _TOO_DEEP
        elif "\t" in indent:
            place = (place[0], indent.index("\t") + 1)
            problem = "a tab indents this line, YAML allows only spaces: replace it"
        elif "cannot start any token" in problem:
            char = line[place[1] - 1 : place[1]]
            problem = f"a value cannot begin with {char!r}: put it in quotes"
        elif "mapping values are not allowed" in problem:
            problem = "a ':' is not allowed here: put a value that holds ': ' in quotes"
        elif error.context and error.context_mark:
            problem += f" ({error.context} of line {error.context_mark.line + 1})"
        self.report(place, problem)

    def _too_deep_before(self, error: yaml.MarkedYAMLError) -> Place | None:
        """Return the place of the first bracket that is nested too deep, if there is one.

        The parser reads up to a line ahead of its events, and some versions have their own limits
        of depth there.
        """
        end = error.problem_mark.index if error.problem_mark else 0
        depth = self._open
        with suppress(yaml.YAMLError):
            for token in yaml.scan(self._text[self._read : end], Loader=yaml.SafeLoader):
                if isinstance(token, _OPENING):
                    if depth > _MAX_DEPTH:
                        before = self._text[: self._read + token.start_mark.index]
                        return (before.count("\n") + 1, len(before) - before.rfind("\n"))
                    depth += 1
                elif isinstance(token, _CLOSING):
                    depth -= 1
        return None

    def document(self) -> Node:
        """Return the root node of the only document."""
        if strange := _NOT_YAML.search(self._text):
            before = self._text[: strange.start()]
            place = (before.count("\n") + 1, len(before) - before.rfind("\n"))
            self._stop(place, f"the character U+{ord(strange[0]):04X} is not allowed")
        self._next()
        if isinstance(self._next(), yaml.StreamEndEvent):
            self._stop((1, 1), "the file is empty")
        root = self._node(self._next())
        self._next()
        after = self._next()
        if not isinstance(after, yaml.StreamEndEvent):
            self._stop(_place(after.start_mark), "a second document ('---') is not allowed")
        return root

    def _next(self) -> _Event:
        event = next(self._events)
        self._read = event.end_mark.index
        return event

    def _stop(self, place: Place, message: str) -> None:
        self.report(place, message)
        raise _StopReadingError

    def _node(self, event: _Event) -> Node:
        """Return the node that starts with ``event``, registering its anchor once complete."""
        place = _place(event.start_mark)
        if isinstance(event, yaml.AliasEvent):
            return self._alias(str(event.anchor), place)
        if self._open > _MAX_DEPTH:
            self._stop(place, _TOO_DEEP)
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        if isinstance(event, yaml.ScalarEvent):
            node = Node(data=self._scalar(event, place), place=place)
        else:
            sequence = isinstance(event, yaml.SequenceStartEvent)
            self._open += 1
            node = (self._sequence if sequence else self._mapping)(event, place)
            self._open -= 1
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return node

    def _alias(self, anchor: str, place: Place) -> Node:
        known = anchor in self._anchors
        target = self._anchors.get(anchor)
        if target is None:
            what = "is inside what it stands for" if known else "has no anchor before it"
            self.report(place, f"the alias *{anchor} {what}")
            return Node(data=None, place=place)
        self._aliased += target.size
        if self._aliased > _MAX_ALIASED:
            self._stop(place, f"aliases stand for more than {_MAX_ALIASED:,} values")
        return target

    def _scalar(self, event: _Event, place: Place) -> object:
        text = event.value
        plain = event.implicit[0] and event.tag is None
        tag = None if plain else self._tag(event.tag, place, ("str", *(row[0] for row in _SCALARS)))
        if tag == "str" or (plain and text and text[0] not in _PLAIN_START):
            return text
        for name, pattern, convert in _SCALARS:
            if tag in (None, name) and pattern.fullmatch(text):
                return self._converted(text, convert, place)
        if tag is not None:
            self.report(place, f"{text!r} is not what the tag !!{tag} says")
        return text

    def _converted(self, text: str, convert: Callable[[str], object], place: Place) -> object:
        try:
            value = convert(text) if len(text) <= _MOST_DIGITS else math.inf
        except ValueError:  # not a number after all
            value = math.inf
        if value in (math.inf, -math.inf) and "inf" not in text.lower():
            self.report(place, f"the number {text[:20]} is too large")
        return value

    def _tag(self, tag: str | None, place: Place, allowed: tuple[str, ...]) -> str:
        name = (tag or "!").removeprefix(_TAG)
        if name != "!" and name not in allowed:
            self.report(place, f"the tag {tag} is not supported")
        return name if name in allowed else allowed[0]

    def _sequence(self, event: _Event, place: Place) -> Node:
        self._tag(event.tag, place, ("seq",))
        node = Node(data=[], place=place)
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            child = self._node(event)
            node.children[len(node.data)] = (_place(event.start_mark), child)
            node.data.append(child.data)
            node.size += child.size
        return node

    def _mapping(self, event: _Event, place: Place) -> Node:
        self._tag(event.tag, place, ("map",))
        node = Node(data={}, place=place)
        merged: list[Node] = []
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            where = _place(event.start_mark)
            self._node(event)
            child = self._node(self._next())
            node.size += child.size
            if not isinstance(event, yaml.ScalarEvent):
                self.report(where, "a key must be plain text")
            elif event.value == "<<" and event.implicit[0]:
                merged += self._merged(child, where)
            elif event.value in node.children:
                first = node.children[event.value][0][0]
                self.report(where, f"the key '{event.value}' is here twice, first in line {first}")
            else:
                node.children[event.value] = (where, child)
        for base in merged:
            node.children = {**base.children, **node.children}
        node.data = {name: child.data for name, (_, child) in node.children.items()}
        return node

    def _merged(self, child: Node, place: Place) -> list[Node]:
        """Return the mappings that a merge key names: one mapping, or a list of mappings."""
        bases = [child]
        if isinstance(child.data, list):
            bases = [base for _, base in child.children.values()]
        if all(isinstance(base.data, dict) for base in bases):
            return bases
        self.report(place, "'<<' takes a mapping or a list of mappings")
        return []


def _place(mark: _Mark) -> Place:
    """Return the 1-based line and column of a mark of the YAML parser."""
    return (mark.line + 1, mark.column + 1)
