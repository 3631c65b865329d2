"""Whole numbers in what files and batch systems tell, where any text may stand."""

from __future__ import annotations

from typing import Final

_MOST_DIGITS: Final = 15  # Python refuses to read thousands, and no id or count needs them


def number(text: str) -> int | None:
    """Return a whole number; None for any other text, and for one with too many digits."""
    fits = text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS
    return int(text) if fits else None
