"""What happened, for others to read: events.jsonl, agent.log, lines on the terminal."""

from __future__ import annotations

import contextlib
import json
import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

COMPACT: Final = json.JSONEncoder(separators=(",", ":"))


class Journal:
    """The files of a submission folder that tell what happens.

    Mutable: events are kept until they could be written, so a full disk ends nothing.
    """

    def __init__(self, folder: str, *, quiet: bool) -> None:
        """Open the files in ``folder``. Raises OSError."""
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
        self.events = os.open(f"{folder}/events.jsonl", flags, 0o666)
        self.log = os.open(f"{folder}/agent.log", flags, 0o666)
        seen = [self.log]
        if not quiet and not same_file(self.log, 2):
            seen.append(2)
        self.readers = seen
        self.entries: list[dict[str, object]] = []  # noted, and made into lines by `flush`
        self.pending = bytearray()
        size = os.fstat(self.events).st_size
        if size and os.pread(self.events, 1, size - 1) != b"\n":
            self.pending += b"\n"  # what was being written when a runner died

    def add(self, event: str, **members: object) -> None:
        """Note an event; ``flush`` writes it."""
        self.entries.append({"t": round(time.time(), 3), "e": event, **members})

    def flush(self) -> None:
        """Write what is noted; what does not fit stays for the next time."""
        for entry in self.entries:
            self.pending += COMPACT.encode(entry).encode() + b"\n"
        self.entries.clear()
        if not self.pending:
            return
        try:
            written = os.write(self.events, self.pending)
        except OSError:
            return
        del self.pending[:written]

    def say(self, text: str) -> None:
        """Tell people."""
        for reader in self.readers:
            with contextlib.suppress(OSError):
                os.write(reader, f"repx: {text}\n".encode(errors="replace"))


def same_file(one: int, other: int) -> bool:
    """Tell whether two descriptors are the same file."""
    try:
        return os.path.samestat(os.fstat(one), os.fstat(other))
    except OSError:
        return False
