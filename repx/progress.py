"""Progress of long work: modules count, and the terminal shows the counts if it listens."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator
    from contextlib import AbstractContextManager
    from typing import Any

    Outgoing = tuple[str, int, Any, str]  # the same type as in `repx.places`
    Bar = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]

Item = TypeVar("Item")

_bars: list[Bar] = []


def listen(bar: Bar, in_bytes: Bar) -> None:
    """Show progress from now on, counted in items or in bytes.

    A bar gets the name and the total of the work, and yields a function that takes the number of
    items or bytes done.
    """
    _bars[:] = [bar, in_bytes]


def through(items: Collection[Item], doing: str) -> Iterator[Item]:
    """Yield the items and report how many are done; ``doing`` is the name of the work."""
    if not _bars:
        yield from items
        return
    with _bars[0](doing, len(items)) as tell:
        for number, item in enumerate(items):
            tell(number)
            yield item


def in_bytes(files: Iterable[Outgoing], total: int, doing: str) -> Iterator[Outgoing]:
    """Yield files and report how many of ``total`` bytes were read."""
    if not _bars:
        yield from files
        return
    with _bars[1](doing, total) as tell:
        count = _Count(tell)
        for key, mode, content, sha256 in files:
            if isinstance(content, bytes):
                yield key, mode, content, sha256
                count.add(len(content))
            else:
                yield key, mode, _Counted(content, count), sha256


@contextmanager
def counted(doing: str, total: int) -> Iterator[Callable[[int], None]]:
    """Yield a function that takes the number of bytes that came; ``total`` is their sum."""
    if not _bars:
        yield lambda _: None
        return
    with _bars[1](doing, total) as tell:
        yield _Count(tell).add


class _Count:
    """The number of bytes done. Mutable."""

    def __init__(self, tell: Callable[[int], None]) -> None:
        self._tell = tell
        self._done = 0

    def add(self, count: int) -> None:
        self._done += count
        self._tell(self._done)


class _Counted:
    """A file that counts the bytes read from it."""

    def __init__(self, file: Any, count: _Count) -> None:  # noqa: ANN401  # what can be read
        self.start = getattr(file, "start", 0)
        self._read = file.read
        self._count = count

    def read(self, size: int) -> bytes:
        content: bytes = self._read(size)
        self._count.add(len(content))
        return content
