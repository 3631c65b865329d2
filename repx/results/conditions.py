"""What ``jobs(stage="calc", seed__gt=3)`` means: names, operators and values, checked."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from repx.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

PARAMETER_PREFIX: Final = "param_"


def same(value: object, wanted: object) -> bool:
    """Return whether two values are equal and agree on being a truth value (1 is not True)."""
    return value == wanted and isinstance(value, bool) == isinstance(wanted, bool)


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[object, object], bool]:
    def holds(value: object, wanted: object) -> bool:
        try:
            return value is not None and compare(value, wanted)
        except TypeError as error:
            raise InputError(
                f"cannot tell which of {value!r} and {wanted!r} is greater",
                hint="filter with a function: jobs(lambda job: ...)",
            ) from error

    return holds


def _text(compare: Callable[[str, str], bool]) -> Callable[[object, object], bool]:
    return lambda value, wanted: value is not None and compare(str(value), str(wanted))


def _one_of(value: object, wanted: Iterable[object]) -> bool:
    return any(same(value, each) for each in wanted)


EQUAL: Final = ""
_NOT_EQUAL: Final = "ne"
_IN: Final = "in"

OPERATORS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    EQUAL: same,
    _NOT_EQUAL: lambda value, wanted: not same(value, wanted),
    _IN: _one_of,
    "gt": _ordered(operator.gt),
    "ge": _ordered(operator.ge),
    "lt": _ordered(operator.lt),
    "le": _ordered(operator.le),
    "startswith": _text(str.startswith),
    "endswith": _text(str.endswith),
    "contains": _text(str.__contains__),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One test of a job: an attribute or a parameter, an operator, and the value wanted."""

    name: str
    is_parameter: bool
    operator: str
    wanted: Any

    def holds(self, values: Collection[object]) -> bool:
        """Return whether any of a job's values passes; for ``ne``: some exist and all pass."""
        test = OPERATORS[self.operator]
        every = all if self.operator == _NOT_EQUAL else any
        return bool(values) and every(test(value, self.wanted) for value in values)

    def must_be_known(self) -> Iterator[object]:
        """Yield the wanted values that a closed set of names has to contain."""
        if self.operator in (EQUAL, _NOT_EQUAL):
            yield self.wanted
        elif self.operator == _IN:
            yield from self.wanted


def parse(
    keywords: Mapping[str, object],
    where: Mapping[str, object],
    *,
    attributes: Collection[str],
    parameters: Callable[[], Collection[str]],
) -> tuple[Condition, ...]:
    """Return the conditions that keywords and the ``where`` mapping spell.

    A name in ``where`` is always a parameter; a keyword is an attribute, else a parameter,
    which ``param_`` in front makes certain. ``parameters`` is asked only when one is meant.
    Raises InputError for a name or operator that does not exist, and for ``__in`` without a
    collection.
    """
    own = [_parameter(key, value, parameters()) for key, value in where.items()]
    others = [_keyword(key, value, attributes, parameters) for key, value in keywords.items()]
    return (*own, *others)


def _keyword(
    key: str, value: object, attributes: Collection[str], parameters: Callable[[], Collection[str]]
) -> Condition:
    name, _ = _split(key, attributes)
    if name in attributes:
        return _condition(key, value, attributes, is_parameter=False)
    known = parameters()
    explicit = key.removeprefix(PARAMETER_PREFIX)
    for spelling in (explicit, key):
        if _split(spelling, known)[0] in known:
            return _condition(spelling, value, known, is_parameter=True)
    raise _unknown("attribute or parameter", name, {*attributes, *known})


def _parameter(key: str, value: object, parameters: Collection[str]) -> Condition:
    name, _ = _split(key, parameters)
    if name not in parameters:
        raise _unknown("parameter", name, parameters)
    return _condition(key, value, parameters, is_parameter=True)


def _split(key: str, known: Collection[str]) -> tuple[str, str]:
    """Return name and operator; a name that contains ``__`` itself is taken whole."""
    if key in known:
        return key, EQUAL
    name, separator, word = key.rpartition("__")
    return (name, word) if separator and name else (key, EQUAL)


def _condition(key: str, value: object, known: Collection[str], *, is_parameter: bool) -> Condition:
    name, word = _split(key, known)
    if word not in OPERATORS:
        words = [each for each in OPERATORS if each]
        raise InputError(
            f"unknown operator '__{word}' in '{key}'",
            hint=did_you_mean(word, words) or f"operators: {', '.join(f'__{w}' for w in words)}",
        )
    wanted = _collection(key, value) if word == _IN else value
    return Condition(name=name, is_parameter=is_parameter, operator=word, wanted=wanted)


def _collection(key: str, value: object) -> tuple[object, ...]:
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise InputError(f"{key}={value!r}: __in wants a collection", hint=f"{key}=[{value!r}]")
    return tuple(value)


def _unknown(kind: str, name: str, known: Collection[str]) -> InputError:
    listed = ", ".join(sorted(known)) or "none"
    return InputError(
        f"unknown {kind} '{name}'", hint=did_you_mean(name, known) or f"known: {listed}"
    )


def check_known(condition: Condition, known: Collection[object]) -> None:
    """Raise InputError when the condition wants a name that nothing in the Lab bears."""
    for wanted in condition.must_be_known():
        if wanted not in known:
            raise _unknown(condition.name, str(wanted), [str(name) for name in known])
