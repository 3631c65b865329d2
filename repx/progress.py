"""How far long work has come: the rooms count, and the terminal shows it when it listens."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from contextlib import AbstractContextManager

    Bar = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]

Item = TypeVar("Item")

_bars: list[Bar] = []


def listen(bar: Bar) -> None:
    """Have work shown from now on.

    ``bar`` gets what is done and how many items it has, and gives a function to be told how
    many of them are done.
    """
    _bars[:] = [bar]


def through(items: Collection[Item], doing: str) -> Iterator[Item]:
    """Yield the items, telling on the way how many are done; ``doing`` says of what."""
    if not _bars:
        yield from items
        return
    with _bars[0](doing, len(items)) as tell:
        for number, item in enumerate(items):
            tell(number)
            yield item
