"""One mapping of a file that its schema accepts: typed values, and mistakes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from repx.config.units import parse_memory, parse_time
from repx.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from repx.document import Document
    from repx.errors import Problem
    from repx.schema import Pointer


@dataclass(frozen=True, slots=True)
class Entry:
    """A mapping in a file. All entries of a file share ``problems`` and add to it."""

    doc: Document
    pointer: Pointer
    data: Any
    problems: list[Problem]

    @classmethod
    def root(cls, doc: Document) -> Entry:
        """Return the whole file."""
        return cls(doc, (), doc.data, [])

    def __contains__(self, key: str) -> bool:
        """Return whether the mapping has the key."""
        return key in self.data

    def get(self, key: str, default: Any = None) -> Any:  # noqa: ANN401  # YAML
        """Return the value from the file unchanged."""
        return self.data.get(key, default)

    def at(self, key: str) -> Entry:
        """Return the mapping below a key; empty when there is none."""
        return Entry(self.doc, (*self.pointer, key), self.data.get(key, {}), self.problems)

    def each(self, key: str) -> Iterator[Entry]:
        """Yield the mappings of the list below a key, or the single mapping."""
        value = self.data.get(key, [])
        if isinstance(value, dict):
            yield self.at(key)
            return
        for index, data in enumerate(value):
            yield Entry(self.doc, (*self.pointer, key, index), data, self.problems)

    def alias(self, key: str, other: str) -> str:
        """Return which of two equivalent keys is used; using both is a problem."""
        if key in self and other in self:
            self.report(other, f"'{key}' and '{other}' mean the same: keep one")
        return other if other in self and key not in self else key

    def report(self, key: str, message: str) -> None:
        """Note a mistake in the value of a key."""
        self.problems.append(self.doc.problem((*self.pointer, key), message))

    def memory(self, key: str) -> int | None:
        """Return bytes, None when the key is missing."""
        return self._parsed(key, parse_memory)

    def time(self, key: str) -> int | None:
        """Return seconds, None when the key is missing."""
        return self._parsed(key, parse_time)

    def _parsed(self, key: str, parse: Callable[[Any], int]) -> int | None:
        if self.get(key) is None:
            return None
        try:
            return parse(self.data[key])
        except InputError as error:
            self.report(key, f"{key}: {error.message}, {error.hint}")
            return None

    def words(self, key: str) -> tuple[str, ...]:
        """Return one text or a list of them as a tuple."""
        value = self.data.get(key, ())
        return (value,) if isinstance(value, str) else tuple(value)

    def origin(self, what: str) -> str:
        """Return the place of this mapping in its file, as shown by ``repx show job``."""
        line = self.doc.place(self.pointer)[0]
        return f"{self.doc.file}:{line} {what}" if line else f"{self.doc.file} {what}"
