"""A link with faults, as ssh's ProxyCommand: relay.py HOST PORT DELAY_MS FOLDER [BYTES].

It hands each byte on later. While FOLDER/stalled exists nothing passes; once FOLDER/cut exists the
link is broken, for new connections, too. After BYTES sent it stalls until FOLDER/go exists.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any, Final

_CHUNK: Final = 1 << 16
_LOOK_S: Final = 0.005


class Link:
    """What both directions share."""

    def __init__(self, delay_s: float, folder: Path, most: int | None) -> None:
        """Look for orders in ``folder``; stall after ``most`` bytes."""
        self.delay_s = delay_s
        self.folder = folder
        self.most = most

    def wait(self, sent: int) -> None:
        """Return when bytes may pass; end the program where the link is cut."""
        while self._is_stalled(sent):
            self.end_if_cut()
            time.sleep(_LOOK_S)
        self.end_if_cut()

    def end_if_cut(self) -> None:
        if (self.folder / "cut").exists():
            os._exit(1)

    def _is_stalled(self, sent: int) -> bool:
        late = self.most is not None and sent > self.most and not (self.folder / "go").exists()
        if late:
            (self.folder / "reached").touch()
        return late or (self.folder / "stalled").exists()


def carry(source: int, to: int, link: Link, *, counted: bool) -> None:
    """Hand on what comes, each piece ``delay_s`` later, until either end is closed."""
    waiting: deque[tuple[float, bytes]] = deque()
    over = threading.Event()

    def give() -> None:
        sent = 0
        while waiting or not over.is_set():
            if not waiting:
                link.end_if_cut()
                time.sleep(_LOOK_S)
                continue
            due, chunk = waiting.popleft()
            time.sleep(max(0.0, due - time.monotonic()))
            link.wait(sent if counted else 0)
            view = memoryview(chunk)
            while view:
                view = view[os.write(to, view) :]
            sent += len(chunk)
        os._exit(0)

    threading.Thread(target=give).start()
    try:
        while chunk := os.read(source, _CHUNK):
            waiting.append((time.monotonic() + link.delay_s, chunk))
    except OSError:
        os._exit(1)
    over.set()


def main() -> None:
    host, port, delay_ms, folder, *most = sys.argv[1:]
    link = Link(float(delay_ms) / 1000, Path(folder), int(most[0]) if most else None)
    link.end_if_cut()
    there = socket.create_connection((host, int(port)))
    up: dict[str, Any] = {"source": 0, "to": there.fileno(), "link": link, "counted": True}
    down: dict[str, Any] = {"source": there.fileno(), "to": 1, "link": link, "counted": False}
    ways = [threading.Thread(target=carry, kwargs=way) for way in (up, down)]
    for way in ways:
        way.start()
    for way in ways:  # the socket lives as long
        way.join()


if __name__ == "__main__":
    main()
