"""The record of events: events.jsonl, agent.log, lines on the terminal."""

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
    """The files of a submission folder that record events.

    Mutable: events are kept until they are written, so a full disk does not end the agent.
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
        self.entries: list[dict[str, object]] = []  # `flush` turns them into lines
        self.pending = bytearray()
        size = os.fstat(self.events).st_size
        if size and os.pread(self.events, 1, size - 1) != b"\n":
            self.pending += b"\n"  # ends the partial line of a runner that died

    def add(self, event: str, **members: object) -> None:
        """Note an event; ``flush`` writes it."""
        self.entries.append({"t": round(time.time(), 3), "e": event, **members})

    def flush(self) -> None:
        """Write the noted events; keep the rest for the next call if the disk is full."""
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
        """Write a line for people, to agent.log and the terminal."""
        for reader in self.readers:
            with contextlib.suppress(OSError):
                os.write(reader, f"repx: {text}\n".encode(errors="replace"))


def same_file(one: int, other: int) -> bool:
    """Tell whether two descriptors refer to the same file."""
    try:
        return os.path.samestat(os.fstat(one), os.fstat(other))
    except OSError:
        return False
