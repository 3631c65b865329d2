"""The text that is hashed into ids: JSON as serde_json writes it, hashes as Nix prints them."""

from __future__ import annotations

import decimal
import hashlib
import json
import math
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

LAB_PATH = "$lab/"
LONGEST_NAME = 200
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]*")
_NIX32 = "0123456789abcdfghijklmnpqrsvwxyz"
_PAIRS = [high + low for high in _NIX32 for low in _NIX32]
_HOLE = re.compile(r"\{\{|\}\}|\{([A-Za-z_][A-Za-z0-9_-]*)\}")


class BlueprintError(Exception):
    """The blueprint does not describe a Lab."""


def compact(value: Any) -> str:  # noqa: ANN401  # any JSON value
    """Return JSON without blanks, keys sorted, numbers as serde_json writes them.

    Raises BlueprintError for values that JSON or UTF-8 cannot represent.
    """
    if isinstance(value, dict):
        items = (f"{compact(key)}:{compact(value[key])}" for key in sorted(value))
        return f"{{{','.join(items)}}}"
    if isinstance(value, (list, tuple)):
        return f"[{','.join(map(compact, value))}]"
    if isinstance(value, float):
        return _float(value)
    text = json.dumps(value, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise BlueprintError(f"{value!r} is not valid text: it holds half a character") from None
    return text


def shown(value: Any) -> str:  # noqa: ANN401  # any JSON value
    """Return a value as templates and bash see it: text unchanged, the rest as compact JSON."""
    return value if isinstance(value, str) else compact(value)


def dumps(value: Any, *, sort_keys: bool = True) -> str:  # noqa: ANN401  # any JSON value
    """Return compact JSON of data without the user's floats; faster than ``compact``."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=sort_keys)


def _float(value: float) -> str:
    """Return a float as serde_json prints it: ``1.0``, ``0.00001``, ``1e-6``, ``1e+16``."""
    if not math.isfinite(value):
        raise BlueprintError(f"{value} is not a number that JSON can hold")
    if value == 0:
        return repr(value)
    sign, digits, exponent = decimal.Decimal(repr(value)).normalize().as_tuple()
    text = "".join(map(str, digits))
    point = len(text) + int(exponent)
    if len(text) <= point <= 16:  # noqa: PLR2004  # serde_json's limits, here and below
        text += "0" * (point - len(text)) + ".0"
    elif 0 < point <= 16:  # noqa: PLR2004
        text = f"{text[:point]}.{text[point:]}"
    elif -5 < point <= 0:  # noqa: PLR2004
        text = f"0.{'0' * -point}{text}"
    else:
        text = (
            f"{text[0]}{'.' if text[1:] else ''}{text[1:]}e{point - 1:{'+' if point > 0 else ''}}"
        )
    return "-" + text if sign else text


def nix_hash(text: str) -> str:
    """Return the first 32 digits of the Nix base-32 form of the sha256 of ``text``."""
    high = int.from_bytes(hashlib.sha256(text.encode()).digest(), "little") >> 100
    return "".join([_PAIRS[high >> shift & 1023] for shift in range(150, -1, -10)])


def fill(template: str, params: Mapping[str, str]) -> str:
    """Return the template with each ``{parameter}`` replaced; ``{{`` and ``}}`` are braces."""

    def value(match: re.Match[str]) -> str:
        hole, name = match.group(0), match.group(1)
        if name is None:
            return hole[0]
        return params.get(name, hole)

    return _HOLE.sub(value, template)


def holes(template: str) -> list[str]:
    """Return the names of the parameters that a template uses."""
    return [name for name in _HOLE.findall(template) if name]
