"""The compressors of Python's standard library, each as a pair of functions, and a clock."""

from __future__ import annotations

import bz2
import lzma
import time
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

PACK = {
    "zlib": zlib.compress,
    "bz2": bz2.compress,
    "lzma": lambda data, level: lzma.compress(data, preset=level),
}
UNPACK = {"zlib": zlib.decompress, "bz2": bz2.decompress, "lzma": lzma.decompress}


def timed(work: Callable[[], bytes], budget_s: float) -> tuple[bytes, float]:
    """Return the result and its shortest time in seconds: the least disturbed one.

    What takes less than the budget is repeated until it is used up.
    """
    result, times = b"", list[float]()
    while sum(times) < budget_s:
        start = time.perf_counter()
        result = work()
        times.append(time.perf_counter() - start)
    return result, min(times)
