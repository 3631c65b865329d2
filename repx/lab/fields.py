"""Typed look-ups in parsed JSON; errors name the field's path."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

T = TypeVar("T", str, int, float, bool, list, dict)  # type: ignore[type-arg]  # JSON's own types
R = TypeVar("R")

Object: TypeAlias = dict[str, object]

_NAMES: Final[Mapping[type, str]] = {
    str: "a string",
    int: "an integer",
    float: "a number",
    bool: "a boolean",
    list: "a list",
    dict: "an object",
    type(None): "null",
}
_SHOWN: Final = 60


class FieldError(Exception):
    """A field that breaks the format; callers add the outer parts of its path."""

    def __init__(self, field: str, problem: str) -> None:
        """Keep the field's path (``jobs.x.params``) and the problem."""
        super().__init__(field, problem)
        self.field = field
        self.problem = problem

    def within(self, outer: str) -> FieldError:
        """Return the same error with the name of the enclosing object in its path."""
        return FieldError(f"{outer}.{self.field}" if outer else self.field, self.problem)


def wrong(field: str, expected: str, value: object) -> FieldError:
    """Return the error for a value of the wrong kind."""
    found = _NAMES[type(value)]
    if isinstance(value, str | int | float):
        shown = json.dumps(value)
        found += f": {shown if len(shown) <= _SHOWN else shown[:_SHOWN] + '...'}"
    return FieldError(field, f"expected {expected}, got {found}")


def optional(obj: Object, key: str, kind: type[T]) -> T | None:
    """Return a field of the given JSON type, None when absent or null."""
    value = obj.get(key)
    if value is None or type(value) is kind:
        return value
    raise wrong(key, _NAMES[kind], value)


def required(obj: Object, key: str, kind: type[T]) -> T:
    """Return a required field of the given JSON type."""
    value = obj.get(key)
    if type(value) is kind:
        return value
    if key not in obj:
        raise FieldError(key, f"missing, expected {_NAMES[kind]}")
    raise wrong(key, _NAMES[kind], value)


def texts(obj: Object, key: str) -> tuple[str, ...]:
    """Return a list of strings as a tuple, empty when absent or null."""
    values = optional(obj, key, list) or ()
    for index, value in enumerate(values):
        if type(value) is not str:
            raise wrong(f"{key}[{index}]", "a string", value)
    return tuple(values)


def each(obj: Object, key: str, make: Callable[[str, Object], R]) -> dict[str, R]:
    """Return ``make(name, value)`` for every member of an object of objects."""
    made: dict[str, R] = {}
    for name, value in (optional(obj, key, dict) or {}).items():
        if type(value) is not dict:
            raise wrong(f"{key}.{name}", "an object", value)
        try:
            made[name] = make(name, value)
        except FieldError as error:
            raise error.within(f"{key}.{name}") from None
    return made
