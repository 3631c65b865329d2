"""Sleep until a signal, an answer or the next time limit, without polling."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable, Iterator
    from typing import Final

WATCHED: Final = (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)


@contextlib.contextmanager
def wakeups(signals: deque[int], answers: int) -> Iterator[Callable[[float | None], None]]:
    """Collect signals in ``signals``; yield a function that sleeps until a signal or a timeout.

    The function also returns when ``answers`` has data to read.
    """
    received, sent = os.pipe()
    os.set_blocking(sent, False)
    before = {
        each: signal.signal(each, lambda number, _frame: signals.append(number)) for each in WATCHED
    }
    signal.set_wakeup_fd(sent, warn_on_full_buffer=False)
    selector = selectors.DefaultSelector()
    for each in (received, answers):
        selector.register(each, selectors.EVENT_READ)

    def wait(timeout_s: float | None) -> None:
        for key, _ in selector.select(timeout_s):
            if key.fd == received:
                os.read(received, 65536)

    try:
        yield wait
    finally:
        signal.set_wakeup_fd(-1)
        for each, handler in before.items():
            signal.signal(each, handler)
        selector.close()
        os.close(received)
        os.close(sent)
