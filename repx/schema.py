"""Check data against a JSON Schema, with messages for people."""

from __future__ import annotations

import functools
import json
import re
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import referencing
from jsonschema import Draft202012Validator, validators

from repx import assets
from repx.errors import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

Pointer: TypeAlias = tuple[str | int, ...]
Mistake: TypeAlias = tuple[Pointer, str]
_Json: TypeAlias = Any
_Validator: TypeAlias = Any  # made by validators.extend, which its stubs leave untyped
_Untyped: TypeAlias = Any
_Error: TypeAlias = Any  # ValidationError, whose stubs allow an unset value everywhere

_KNOWN_SHOWN: Final = 12
_VALUE_SHOWN: Final = 60
_NUMBER: Final = re.compile(r"[-+]?[0-9]+(\.[0-9]+)?")
_TYPES: Final[Mapping[str, str]] = {
    "string": "a string",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "a mapping",
    "null": "nothing",
}


def mistakes(data: object, name: str) -> list[Mistake]:
    """Return the places and messages of mistakes in ``data`` by ``schemas/<name>``, each once."""
    found: dict[Mistake, None] = {}
    errors = [leaf for error in _validator(name).iter_errors(data) for leaf in _relevant(error)]
    mistyped = {tuple(error.absolute_path) for error in errors if error.validator == "type"}
    for error in errors:
        pointer = tuple(error.absolute_path)
        if pointer in mistyped and error.validator != "type":
            continue
        describe = _WORDS.get(str(error.validator), _other)
        for step, message in describe(error):
            found[(pointer if step is None else (*pointer, step), message)] = None
    return list(found)


def shown(value: object) -> str:
    """Return a value for a message, on one line and shortened."""
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= _VALUE_SHOWN else f"{text[:_VALUE_SHOWN]}..."


def dotted(pointer: Pointer) -> str:
    """Return a pointer in dotted form, e.g. ``rules[1].mem``."""
    parts = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in pointer)
    return "".join(parts).removeprefix(".")


@functools.cache
def _validator(name: str) -> _Validator:
    """Return a validator for a shipped schema; its ``$ref`` may name other shipped schemas."""

    def shipped(uri: str) -> referencing.Resource[_Json]:
        return referencing.Resource.from_contents(_read(uri.rpartition("/")[2]))

    # JSON Schema counts 2.0 as an integer, but `cpus: 2.0` is probably a mistake.
    strict = Draft202012Validator.TYPE_CHECKER.redefine(
        "integer", lambda _, value: isinstance(value, int) and not isinstance(value, bool)
    )
    extend: _Untyped = validators.extend
    registry: _Untyped = referencing.Registry
    return extend(Draft202012Validator, type_checker=strict)(
        _read(name), registry=registry(retrieve=shipped)
    )


def _read(name: str) -> _Json:
    return json.loads(assets.path(f"schemas/{name}").read_text(encoding="utf-8"))


def _relevant(error: _Error) -> Iterator[_Error]:
    """Yield the errors of the alternative that was most likely meant, or ``error`` itself.

    That is the alternative with the fewest errors among those whose type fits.
    """
    branches: dict[object, list[_Error]] = {}
    for inner in error.context or ():
        branches.setdefault(inner.schema_path[0], []).append(inner)
    fitting = [
        branch
        for branch in branches.values()
        if not any(inner.validator == "type" and not inner.path for inner in branch)
    ]
    if error.validator not in ("anyOf", "oneOf") or not fitting:
        yield error
        return
    for inner in min(fitting, key=len):
        yield from _relevant(inner)


_Described: TypeAlias = "Iterator[tuple[str | int | None, str]]"


def _value(error: _Error, message: str) -> _Described:
    """Yield ``message`` with the key of the value at the error's place in front."""
    pointer = tuple(error.absolute_path)
    keys = [index for index, step in enumerate(pointer) if isinstance(step, str)]
    name = dotted(pointer[keys[-1] :] if keys else pointer)
    yield None, f"{name}: {message}" if name else message


def _unknown_keys(error: _Error) -> _Described:
    known = list(error.schema.get("properties", {}))
    patterns = tuple(error.schema.get("patternProperties", {}))
    listed = ", ".join(known[:_KNOWN_SHOWN]) + (", ..." if len(known) > _KNOWN_SHOWN else "")
    for key in error.instance:
        if key not in known and not any(re.search(each, key) for each in patterns):
            yield key, f"unknown key '{key}', {did_you_mean(key, known) or f'known: {listed}'}"


def _missing_keys(error: _Error) -> _Described:
    for key in error.validator_value:
        if key not in error.instance:
            yield from _value(error, f"the key '{key}' is missing")


def _wrong_type(error: _Error) -> _Described:
    wanted = error.validator_value
    names = [wanted] if isinstance(wanted, str) else wanted
    yield from _value(error, _wanted(error.instance, names, _examples(error)))


def _no_alternative(error: _Error) -> _Described:
    """Describe a value whose type no alternative takes."""
    types = [inner.validator_value for inner in error.context if inner.validator == "type"]
    names = dict.fromkeys(
        name for value in types for name in ([value] if isinstance(value, str) else value)
    )
    yield from _value(error, _wanted(error.instance, list(names), ""))


def _wanted(value: object, names: list[str], examples: str) -> str:
    """Return a message with the found value, the wanted types and the usual fix."""
    wanted = " or ".join(_TYPES[name] for name in names if name != "null" or len(names) == 1)
    if value is None:
        return f"nothing is given, wanted {wanted}"
    found = next(words for kind, words in _FOUND.items() if isinstance(value, kind))
    if isinstance(value, list | dict):
        return f"{found} is given, wanted {wanted}"
    cure = ""
    if examples:
        cure = f" like {examples}"
    elif "string" in names:
        cure = ": put it in quotes"
    elif "boolean" in names and isinstance(value, str):
        cure = " without quotes"
    return f"{shown(value)} is {found}, wanted {wanted}{cure}"


def _examples(error: _Error) -> str:
    """Return the schema's examples as typed by users: quoted if text looks like a number."""
    examples = error.schema.get("examples", ())
    return ", ".join(
        f'"{each}"' if isinstance(each, str) and _NUMBER.fullmatch(each) else str(each)
        for each in examples
    )


def _not_one_of(error: _Error) -> _Described:
    options = error.validator_value if error.validator == "enum" else [error.validator_value]
    listed = ", ".join(str(option) for option in options)
    near = did_you_mean(str(error.instance), [str(option) for option in options])
    message = f"{shown(error.instance)} is not one of {listed}"
    yield from _value(error, f"{message}, {near}" if near and len(options) > 1 else message)


def _malformed(error: _Error) -> _Described:
    """Describe text that a pattern rejects, with the schema's examples, its message or pattern."""
    value, examples = error.instance, _examples(error)
    words = error.schema.get("patternErrorMessage")  # editors show this message, too
    wanted = f", write it like {examples}" if examples else f": {words or error.validator_value}"
    if "propertyNames" in error.schema_path:
        both = f": {words}, like {examples}" if words and examples else wanted
        yield value, f"the name {shown(value)} is not allowed{both}"
    else:
        yield from _value(error, f"{shown(value)} is not understood{wanted}")


def _bound(words: str) -> Callable[[_Error], _Described]:
    def describe(error: _Error) -> _Described:
        yield from _value(error, f"{shown(error.instance)} {words} {error.validator_value}")

    return describe


def _too_short(error: _Error) -> _Described:
    least = error.validator_value
    yield from _value(error, "is empty" if least == 1 else f"needs at least {least} entries")


def _repeated(error: _Error) -> _Described:
    items = error.instance
    again = next(item for index, item in enumerate(items) if item in items[:index])
    yield from _value(error, f"{shown(again)} is listed twice")


def _refused(error: _Error) -> _Described:
    yield from _value(error, str(error.schema["description"]))


def _other(error: _Error) -> _Described:
    yield from _value(error, str(error.message))


_FOUND: Final[Mapping[type, str]] = {
    bool: "true or false",
    str: "a string",
    int: "a whole number",
    float: "a number",
    list: "a list",
    dict: "a mapping",
    object: "something else",
}
_WORDS: Final[Mapping[str, Callable[[_Error], _Described]]] = {
    "additionalProperties": _unknown_keys,
    "required": _missing_keys,
    "type": _wrong_type,
    "anyOf": _no_alternative,
    "oneOf": _no_alternative,
    "enum": _not_one_of,
    "const": _not_one_of,
    "pattern": _malformed,
    "minimum": _bound("is less than"),
    "exclusiveMinimum": _bound("is not more than"),
    "maximum": _bound("is more than"),
    "minLength": _too_short,
    "minItems": _too_short,
    "minProperties": _too_short,
    "uniqueItems": _repeated,
    "not": _refused,
}
