"""Values of parameters: one form for all values of the same meaning.

A Lab holds JSON. Users ask with values of Python, numpy and pandas: ``numpy.bool_``, arrays,
``Decimal``, ``Path``, enums, tuples, NaN for a missing value.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from typing import Any, Final, NoReturn

from repx.errors import InputError

_MISSING: Final = frozenset({"NAType", "NaTType"})
"""Types of pandas' missing values, which are equal to nothing and have no truth value."""
_FLOAT_BYTES: Final = 8

NULL: Final = "null"
_KINDS: Final[Mapping[type, str]] = {
    type(None): NULL,
    bool: "true or false",
    int: "a number",
    float: "a number",
    str: "text",
    list: "a list",
    dict: "a mapping",
}


def plain(value: object) -> Any:  # noqa: ANN401  # any JSON value
    """Return the value as JSON data; a missing value of pandas or numpy is None.

    Raises InputError for a value that no parameter can have, e.g. a set or bytes.
    """
    if type(value).__name__ in _MISSING:
        return None
    if hasattr(value, "tolist"):
        return _of_array(value)
    return next(convert for types, convert in _CONVERSIONS if isinstance(value, types))(value)


def _of_array(value: Any) -> Any:  # noqa: ANN401  # numpy and pandas are optional
    """Return the content of an array, a column, or a scalar of numpy."""
    kind = getattr(getattr(value, "dtype", None), "kind", "")
    if kind in ("M", "m", "c"):  # tolist() drops the unit of dates, and so their meaning
        _refuse(value)
    if kind == "f" and value.dtype.itemsize != _FLOAT_BYTES:
        # float32(0.1) means 0.1, but its exact value is another number.
        return _numbers(value.astype(str).tolist())
    return plain(value.tolist())


def _numbers(texts: Any) -> Any:  # noqa: ANN401  # nested lists of text
    return [_numbers(text) for text in texts] if isinstance(texts, list) else plain(float(texts))


def _refuse(value: object) -> NoReturn:
    raise InputError(
        f"no job has a value of type '{type(value).__name__}': {value!r}",
        hint="give text, a number, true or false, None, a list or a mapping;"
        " or filter with a function: jobs(lambda job: ...)",
    )


def _of_number(value: Any) -> int | float | None:  # noqa: ANN401  # float, Fraction, Decimal
    """Return a whole Decimal or Fraction as int, NaN as None, all other numbers as float."""
    number = float(value)
    if math.isnan(number):
        return None
    whole = not isinstance(value, float) and number == value and number.is_integer()
    return int(number) if whole else number


_CONVERSIONS: Final[Sequence[tuple[Any, Callable[[Any], object]]]] = (
    (Enum, lambda value: plain(value.value)),  # first, because an enum may also be text or a number
    ((type(None), bool), lambda value: value),
    (str, str),
    (int, int),
    ((float, Decimal, Fraction), _of_number),
    (timedelta, timedelta.total_seconds),
    (os.PathLike, os.fsdecode),
    ((datetime, bytes, bytearray), _refuse),
    (date, date.isoformat),
    (Mapping, lambda value: {str(name): plain(inner) for name, inner in value.items()}),
    (Sequence, lambda value: [plain(inner) for inner in value]),
    (object, _refuse),
)


def key(value: object) -> Hashable:
    """Return a key that is equal exactly for equal JSON values; 1 equals 1.0 but not True."""
    if isinstance(value, bool):
        return bool, value
    if isinstance(value, list):
        return (list, *map(key, value))
    if isinstance(value, Mapping):
        return dict, frozenset((name, key(inner)) for name, inner in value.items())
    if isinstance(value, float) and value != value:  # noqa: PLR0124  # NaN
        return None
    return value


def kind(value: object) -> str:
    """Return the name of a JSON value's type for messages."""
    return _KINDS.get(type(value), "a mapping" if isinstance(value, Mapping) else "text")


def flatten(params: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    """Yield nested mappings as one, keys joined by dots; values of outer mappings first."""
    nested = {name: value for name, value in params.items() if isinstance(value, dict) and value}
    for name, value in params.items():
        if name not in nested:
            yield f"{prefix}{name}", value
    for name, inner in nested.items():
        yield from flatten(inner, f"{prefix}{name}.")


def found(params: Mapping[str, object], name: str) -> tuple[object, ...]:
    """Return the value of a name, with dots for nested mappings, in a tuple; empty if none."""
    if name in params:
        return (params[name],)
    dot = name.find(".")
    while dot > 0:
        inner = params.get(name[:dot])
        if isinstance(inner, dict) and (value := found(inner, name[dot + 1 :])):
            return value
        dot = name.find(".", dot + 1)
    return ()
