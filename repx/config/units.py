"""Amounts of memory and durations as people and Slurm write them.

Memory units count in 1024s, as Slurm's do: 4G, 4GB and 4GiB are the same. Times are Slurm's
(``MM``, ``MM:SS``, ``HH:MM:SS``, ``D-HH``, ``D-HH:MM``, ``D-HH:MM:SS``; a bare number is
minutes) or have units (``90s``, ``1h30m``, ``2d``).
"""

from __future__ import annotations

import math
import re
from typing import Final

from repx.errors import InputError

_PREFIXES: Final = "BKMGTP"
_MEMORY: Final = re.compile(
    r"\s*([0-9]{1,15}(?:\.[0-9]{1,15})?)\s*(?:([KMGTP])(?:I?B)?|B|)\s*", re.IGNORECASE
)
_WITH_UNIT: Final = re.compile(r".*[A-Za-z]\s*", re.DOTALL)
_TIMES: Final = tuple(
    re.compile(rf"\s*(?:{pattern})\s*", re.IGNORECASE)
    for pattern in (
        r"(?P<m>[0-9]{1,15})(?::(?P<s>[0-9]{1,15}))?",
        r"(?P<h>[0-9]{1,15}):(?P<m>[0-9]{1,15}):(?P<s>[0-9]{1,15})",
        r"(?P<d>[0-9]{1,15})-(?P<h>[0-9]{1,15})(?::(?P<m>[0-9]{1,15}))?(?::(?P<s>[0-9]{1,15}))?",
        r"(?=[0-9])(?:(?P<d>[0-9]{1,15})d)?(?:(?P<h>[0-9]{1,15})h)?(?:(?P<m>[0-9]{1,15})m)?(?:(?P<s>[0-9]{1,15})s)?",
    )
)
_SECONDS: Final = {"d": 86400, "h": 3600, "m": 60, "s": 1}
_MIB: Final = 1024**2


def parse_memory(text: str, *, bare_bytes: bool = False) -> int:
    """Return bytes, rounded up. Raises InputError.

    A number without a unit is refused, since people and Slurm mean MiB. With ``bare_bytes``, the
    number is in bytes, as in Labs.
    """
    from decimal import Decimal  # most commands parse no amounts

    match = _MEMORY.fullmatch(text)
    if match and (bare_bytes or _WITH_UNIT.fullmatch(text)):
        number, unit = Decimal(match[1]), (match[2] or "B").upper()
        count = math.ceil(number * (1 << 10 * _PREFIXES.index(unit)))
        if count > 0:
            return count
    raise InputError(
        f"'{text}' is not an amount of memory", hint="write it like 512M, 4G, 1.5G or 4GiB"
    )


def parse_time(value: str | int) -> int:
    """Return seconds; a bare number is minutes. Raises InputError."""
    for pattern in _TIMES:
        if match := pattern.fullmatch(str(value)):
            found = match.groupdict()
            seconds = sum(int(count) * _SECONDS[unit] for unit, count in found.items() if count)
            if seconds > 0:
                return seconds
    raise InputError(
        f"'{value}' is not a span of time",
        hint="write it like 90 (minutes), 30m, 1h30m, 2d, 01:30:00 or 2-12:00:00",
    )


def slurm_memory(count: int) -> str:
    """Return bytes as sbatch's --mem takes them: whole MiB, rounded up."""
    return f"{-(-count // _MIB)}M"


def slurm_time(seconds: int) -> str:
    """Return seconds as sbatch's --time takes them: ``[D-]HH:MM:SS``."""
    days, rest = divmod(seconds, _SECONDS["d"])
    hours, rest = divmod(rest, _SECONDS["h"])
    clock = f"{hours:02}:{rest // 60:02}:{rest % 60:02}"
    return f"{days}-{clock}" if days else clock
