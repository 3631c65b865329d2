"""Commands that run another command, which their words name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Wrapper:
    """What may stand before the command: flags, options with a value, and other words.

    An option that is neither is not guessed at. ``asks`` are flags with which nothing is run.
    """

    flags: str = ""
    valued: str = ""
    words: int = 0
    asks: str = ""
    assigns: bool = False


_WRAPPERS = {
    "builtin": Wrapper(),
    "chrt": Wrapper(flags="abfior", words=1),
    "command": Wrapper(flags="p", asks="vV"),
    "env": Wrapper(flags="i0v", valued="uC", assigns=True),
    "exec": Wrapper(flags="cl", valued="a"),
    "ionice": Wrapper(flags="t", valued="cn"),
    "nice": Wrapper(valued="n"),
    "nohup": Wrapper(),
    "setsid": Wrapper(flags="cfw"),
    "stdbuf": Wrapper(valued="ioe"),
    "sudo": Wrapper(flags="EHnS", valued="gu", assigns=True),
    "taskset": Wrapper(flags="a", words=1),
    "time": Wrapper(flags="apqv", valued="fo"),
    "timeout": Wrapper(flags="v", valued="ks", words=1),
    "xargs": Wrapper(flags="0prtx", valued="adEILnPs"),
}
_EXECUTES = frozenset({"-exec", "-execdir", "-ok", "-okdir"})


def wrapped(words: Sequence[str]) -> list[int]:
    """Return the places of the commands that a command's words name beside the first."""
    if words[0] == "find":
        places = [place + 1 for place, word in enumerate(words[:-1]) if word in _EXECUTES]
        return [each for place in places for each in (place, *_below(words, place))]
    wrapper = _WRAPPERS.get(words[0])
    place = None if wrapper is None else _command(wrapper, words)
    return [] if place is None else [place, *_below(words, place)]


def _below(words: Sequence[str], place: int) -> list[int]:
    return [place + each for each in wrapped(words[place:])]


def _command(wrapper: Wrapper, words: Sequence[str]) -> int | None:
    """Return the place of the command behind a wrapper and its options."""
    place, others = 1, wrapper.words
    while place < len(words):
        word = words[place]
        if word == "--":
            return place + 1 + others if place + 1 + others < len(words) else None
        if word.startswith("--") and "=" in word:
            place += 1
        elif word.startswith("-") and len(word) > 1:
            taken = _option(wrapper, word)
            if taken is None:
                return None
            place += taken
        elif wrapper.assigns and "=" in word:
            place += 1
        elif others:
            place, others = place + 1, others - 1
        else:
            return place
    return None


def _option(wrapper: Wrapper, word: str) -> int | None:
    """Return how many words an option takes; None where that is not known, or nothing is run."""
    for at, letter in enumerate(word[1:], 1):
        if letter in wrapper.asks:
            return None
        if letter in wrapper.valued:
            return 1 if word[at + 1 :] else 2
        if letter not in wrapper.flags:
            return None
    return 1
