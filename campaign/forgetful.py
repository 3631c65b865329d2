"""A disk that forgets what was not flushed when the power goes; needs root and FUSE.

``python forgetful.py FILE SIZE`` makes FILE appear with SIZE bytes, kept in memory, for a loop
device. What is written stays pending until it is flushed. On its input it reads

    cut SEED    forget: a part of what is pending is lost, and all that is written from now on
    on          work again, with what is left

and answers each with a line. The protocol is that of linux/fuse.h, version 7.31: a file system
that is one file.
"""

from __future__ import annotations

import ctypes
import os
import random
import select
import stat
import struct
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

_REQUEST: Final = struct.Struct("<IIQQIIIHH")
_ANSWER: Final = struct.Struct("<IiQ")
_TRANSFER: Final = struct.Struct("<QQIIQII")  # of READ and WRITE: handle, offset, size, ...
_MOST: Final = 1 << 17
_SECTOR: Final = 512
_WHOLE: Final = 4096  # what a disk writes whole or not at all
_ENOSYS: Final = 38
_SILENT: Final = (2, 36, 42)  # FORGET, INTERRUPT and BATCH_FORGET want no answer
_LOST: Final = 0.5  # of what is pending, when the power goes
_DIRECT_IO: Final = 1


@dataclass
class Disk:
    """The bytes of the disk. Mutable: ``pending`` writes are in ``content``, not in ``durable``."""

    content: bytearray
    durable: bytearray
    pending: list[tuple[int, bytes]] = field(default_factory=list)
    handles: int = 0
    oldest: int = 1  # of the handles opened since the power was last on

    def write(self, handle: int, offset: int, data: bytes) -> None:
        """Take what is written, unless the power was cut since.

        A mount that another mount namespace has copied may write long after that.
        """
        if handle >= self.oldest:
            self.content[offset : offset + len(data)] = data
            self.pending.append((offset, data))

    def flush(self, handle: int) -> None:
        """Make durable what was written."""
        if handle < self.oldest:
            return
        for offset, data in self.pending:
            self.durable[offset : offset + len(data)] = data
        self.pending.clear()

    def cut(self, chance: random.Random) -> None:
        """Lose a part of what is pending: whole writes, or all but their first blocks."""
        for offset, data in self.pending:
            if chance.random() >= _LOST:
                kept = len(data)
                if chance.random() < _LOST:
                    first, last = offset // _WHOLE, (offset + kept) // _WHOLE
                    kept = max(0, chance.randint(first, last) * _WHOLE - offset)
                self.durable[offset : offset + kept] = data[:kept]
        self.pending.clear()
        self.content[:] = self.durable
        self.oldest = sys.maxsize


def main(path: str, size: int) -> None:
    """Serve until the file is unmounted."""
    disk = Disk(bytearray(size), bytearray(size))
    channel = os.open("/dev/fuse", os.O_RDWR)
    with open(path, "wb"):  # noqa: PTH123
        pass
    options = f"fd={channel},rootmode={stat.S_IFREG | 0o600:o},user_id=0,group_id=0"
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"forgetful", os.fsencode(path), b"fuse", 0, options.encode()):
        raise OSError(ctypes.get_errno(), "cannot mount", path)
    print("ready", flush=True)
    while True:
        ready = select.select([channel, 0], [], [])[0]
        if channel in ready and not _serve(channel, disk):
            return
        if 0 in ready:
            _obey(disk)


def _obey(disk: Disk) -> None:
    words = os.read(0, 1000).split()
    if not words:
        sys.exit(0)
    if words[0] == b"cut":
        disk.cut(random.Random(int(words[1])))
    else:
        disk.oldest = disk.handles + 1
    print("done", flush=True)


def _serve(channel: int, disk: Disk) -> bool:
    """Answer one request; return whether there will be more."""
    try:
        request = os.read(channel, _MOST + 8192)
    except OSError:  # ENODEV: it was unmounted
        return False
    _, code, unique, *_ = _REQUEST.unpack_from(request)
    if code in _SILENT:
        return True
    answer = _answer(code, request[_REQUEST.size :], disk)
    error, body = (0, answer) if answer is not None else (-_ENOSYS, b"")
    os.write(channel, _ANSWER.pack(_ANSWER.size + len(body), error, unique) + body)
    return True


def _answer(code: int, body: bytes, disk: Disk) -> bytes | None:
    """Return the answer to a request, None to one that nobody needs here."""
    answer = _ANSWERS.get(code)
    return answer(body, disk) if answer is not None else None


def _init(_body: bytes, _disk: Disk) -> bytes:
    return struct.pack("<IIIIHHIIHHI28x", 7, 31, _MOST, 1 << 5, 16, 12, _MOST, 1, 32, 0, 0)


def _attributes(_body: bytes, disk: Disk) -> bytes:
    size = len(disk.content)
    mode = stat.S_IFREG | 0o600
    return struct.pack("<QII3Q36x7I", 3600, 0, 0, 1, size, size // _SECTOR, mode, 1, *[0] * 5)


def _open(_body: bytes, disk: Disk) -> bytes:
    disk.handles += 1
    return struct.pack("<QII", disk.handles, _DIRECT_IO, 0)


def _read(body: bytes, disk: Disk) -> bytes:
    _, offset, size, *_ = _TRANSFER.unpack_from(body)
    return bytes(disk.content[offset : offset + size])


def _write(body: bytes, disk: Disk) -> bytes:
    handle, offset, size, *_ = _TRANSFER.unpack_from(body)
    disk.write(handle, offset, body[_TRANSFER.size : _TRANSFER.size + size])
    return struct.pack("<II", size, 0)


def _flush(body: bytes, disk: Disk) -> bytes:
    disk.flush(*struct.unpack_from("<Q", body))
    return b""


_ANSWERS: Final[Mapping[int, Callable[[bytes, Disk], bytes]]] = {
    3: _attributes,
    14: _open,
    15: _read,
    16: _write,
    18: lambda _body, _disk: b"",  # RELEASE
    20: _flush,  # FSYNC
    26: _init,
}


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
