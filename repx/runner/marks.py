"""Read a SUCCESS marker: the only reader in Python; markers.sh is the only one in bash.

repx's marker is one complete line of JSON; a partial line had not reached the disk before a power
cut. Every unit of repx first creates ``lock`` beside its marker. Without ``lock``, the existence of
a marker is enough: the markers of RepX 0.5 are empty.

Standard library only, Python 3.6: this file is also sent to targets (``repx.places.channel``).
"""

import errno
import os

SUCCESS = "SUCCESS"
TORN = "SUCCESS is empty or torn, as a power cut leaves it"

_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC  # a named pipe must not block
_MOST = 1 << 20
_USUAL = 4096


def success(record: str) -> "bytes | None":
    """Return the content of SUCCESS in a unit's own folder, or None without a marker.

    Empty for a marker that this user may not read. Raises OSError, also for a torn marker of repx.
    """
    try:
        marker = os.open(f"{record}/{SUCCESS}", _FLAGS)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError:
        return b"" if os.access(f"{record}/{SUCCESS}", os.F_OK) else None
    try:
        text = os.read(marker, _USUAL)
        if len(text) == _USUAL:
            text += os.read(marker, _MOST)
    finally:
        os.close(marker)
    whole = text.startswith(b"{") and text.endswith(b"}\n")
    if not whole and not _is_theirs(record):
        raise OSError(errno.EBADMSG, TORN, f"{record}/{SUCCESS}")
    return text


def _is_theirs(record: str) -> bool:
    """Tell whether RepX 0.5 left the marker, perhaps after an attempt of repx."""
    ours = _changed_at(f"{record}/lock")
    return not ours or _changed_at(f"{os.path.dirname(record)}/.repx.repx-cache.json") > ours


def _changed_at(path: str) -> int:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return 0
