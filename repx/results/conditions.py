"""Parse and check conditions like ``jobs(stage="calc", seed__gt=3)``."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from repx.errors import InputError, did_you_mean
from repx.model import value_text
from repx.results.values import key, kind, plain

if TYPE_CHECKING:
    from collections.abc import Collection

PARAMETER_PREFIX: Final = "param_"

Test: TypeAlias = Callable[[object], bool]


def _equal(wanted: object) -> Test:
    same = key(wanted)
    return lambda value: key(value) == same


def _not_equal(wanted: object) -> Test:
    same = key(wanted)
    return lambda value: key(value) != same


def _one_of(wanted: Iterable[object]) -> Test:
    same = frozenset(map(key, wanted))
    return lambda value: key(value) in same


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[object], Test]:
    def holds(value: object, wanted: object) -> bool:
        try:
            return value is not None and compare(value, wanted)
        except TypeError as error:
            raise InputError(
                f"cannot tell which of {value!r} and {wanted!r} is greater",
                hint="filter with a function: jobs(lambda job: ...)",
            ) from error

    return lambda wanted: lambda value: holds(value, wanted)


def _text(compare: Callable[[str, str], bool]) -> Callable[[object], Test]:
    def test(wanted: object) -> Test:
        text = value_text(wanted)
        return lambda value: value is not None and compare(value_text(value), text)

    return test


def _contains(wanted: object) -> Test:
    """Test whether a list has an element, or whether the text of another value has a part."""
    within, same = _text(str.__contains__)(wanted), key(wanted)

    def holds(value: object) -> bool:
        return same in map(key, value) if isinstance(value, list) else within(value)

    return holds


EQUAL: Final = ""
_NOT_EQUAL: Final = "ne"
_IN: Final = "in"

OPERATORS: Final[Mapping[str, Callable[[Any], Test]]] = {
    EQUAL: _equal,
    _NOT_EQUAL: _not_equal,
    _IN: _one_of,
    "gt": _ordered(operator.gt),
    "ge": _ordered(operator.ge),
    "lt": _ordered(operator.lt),
    "le": _ordered(operator.le),
    "startswith": _text(str.startswith),
    "endswith": _text(str.endswith),
    "contains": _contains,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One test of a job: an attribute or a parameter, an operator, and the values to compare.

    ``wanted`` are the values asked for by equality or ``__in``; the other operators have none.
    """

    name: str
    is_parameter: bool
    operator: str
    test: Test
    wanted: tuple[object, ...]

    def holds(self, values: Collection[object]) -> bool:
        """Return whether any of a job's values passes; for ``ne``: some exist and all pass."""
        every = all if self.operator == _NOT_EQUAL else any
        return bool(values) and every(map(self.test, values))


def parse(
    keywords: Mapping[str, object],
    where: Mapping[str, object],
    *,
    attributes: Collection[str],
    parameters: Callable[[], Collection[str]],
) -> tuple[Condition, ...]:
    """Return the conditions that keywords and the ``where`` mapping describe.

    A name in ``where`` is always a parameter. A keyword is an attribute if there is one of that
    name, else a parameter; with the prefix ``param_`` it is always a parameter. ``parameters`` is
    only called if needed. Raises InputError for an unknown name or operator, and for ``__in``
    without a collection.
    """
    own = [_parameter(name, value, parameters()) for name, value in where.items()]
    others = [_keyword(name, value, attributes, parameters) for name, value in keywords.items()]
    return (*own, *others)


def _keyword(
    word: str, value: object, attributes: Collection[str], parameters: Callable[[], Collection[str]]
) -> Condition:
    name, _ = _split(word, attributes)
    if name in attributes:
        return _condition(word, value, attributes, is_parameter=False)
    known = parameters()
    explicit = word.removeprefix(PARAMETER_PREFIX)
    for spelling in (explicit, word):
        if _split(spelling, known)[0] in known:
            return _condition(spelling, value, known, is_parameter=True)
    raise _unknown("attribute or parameter", name, {*attributes, *known})


def _parameter(word: str, value: object, parameters: Collection[str]) -> Condition:
    name, _ = _split(word, parameters)
    if name not in parameters:
        raise _unknown("parameter", name, parameters)
    return _condition(word, value, parameters, is_parameter=True)


def _split(word: str, known: Collection[str]) -> tuple[str, str]:
    """Return name and operator; a known name that contains ``__`` is not split."""
    if word in known:
        return word, EQUAL
    name, separator, suffix = word.rpartition("__")
    return (name, suffix) if separator and name else (word, EQUAL)


def _condition(
    word: str, value: object, known: Collection[str], *, is_parameter: bool
) -> Condition:
    name, suffix = _split(word, known)
    if suffix not in OPERATORS:
        raise _no_operator(word, suffix, known)
    wanted = _collection(word, value) if suffix == _IN else plain(value)
    listed = tuple(wanted) if suffix == _IN else (wanted,)
    return Condition(
        name=name,
        is_parameter=is_parameter,
        operator=suffix,
        test=OPERATORS[suffix](wanted),
        wanted=listed if suffix in (EQUAL, _NOT_EQUAL, _IN) else (),
    )


def _collection(word: str, value: object) -> list[object]:
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        raise InputError(f"{word}={value!r}: __in wants a collection", hint=f"{word}=[{value!r}]")
    return [plain(each) for each in value]


def _no_operator(word: str, suffix: str, known: Collection[str]) -> InputError:
    words = [each for each in OPERATORS if each]
    nested = word.replace("__", ".")
    hint = (
        f'where={{"{nested}": ...}}'
        if nested in known
        else did_you_mean(suffix, words) or f"operators: {', '.join(f'__{w}' for w in words)}"
    )
    return InputError(f"unknown operator '__{suffix}' in '{word}'", hint=hint)


def _unknown(what: str, name: str, known: Collection[str]) -> InputError:
    nested = next((each for each in sorted(known) if each.endswith(f".{name}")), None)
    listed = ", ".join(sorted(known)) or "none"
    hint = (
        f'where={{"{nested}": ...}}' if nested else did_you_mean(name, known) or f"known: {listed}"
    )
    return InputError(f"unknown {what} '{name}'", hint=hint)


def check_known(condition: Condition, known: Collection[object]) -> None:
    """Raise InputError when the condition asks for a name that the Lab does not have."""
    for wanted in condition.wanted:
        if not isinstance(wanted, str) or wanted not in known:
            raise _unknown(condition.name, value_text(wanted), [str(name) for name in known])


def doubt(condition: Condition, kinds: Collection[str]) -> str | None:
    """Return why no job can match if no job has a value of the wanted kind, else None.

    ``kinds`` are the kinds of all jobs' values. "1" is not 1, and 1 is not True.
    """
    asked = {kind(wanted) for wanted in condition.wanted}
    if not asked or asked & {*kinds}:
        return None
    return (
        f"{condition.name}={condition.wanted[0]!r} is {' or '.join(sorted(asked))},"
        f" but every job's {condition.name} is {' or '.join(sorted(kinds))}"
    )
