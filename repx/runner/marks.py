"""What a SUCCESS marker tells: the one reader of it in Python, as markers.sh is the one in bash.

Ours is one whole line of JSON; what is less had not reached the disk when the power went. Whoever
runs a unit for us leaves ``lock`` beside it first. Without that, a marker's existence is enough:
that of RepX 0.5 is empty.

Standard library only, Python 3.6: it is also sent to places (``repx.places.channel``).
"""

import errno
import os

SUCCESS = "SUCCESS"
TORN = "SUCCESS is empty or torn, as a power cut leaves it"

_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC  # a pipe in the way must not block
_MOST = 1 << 20
_USUAL = 4096


def success(record: str) -> "bytes | None":
    """Return what the SUCCESS in a unit's own folder says, or None where there is none.

    One that others may not read says nothing. Raises OSError, also for one of ours that is torn.
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
    """Tell whether another one left the marker, as RepX 0.5 may after an attempt of ours."""
    ours = _changed_at(f"{record}/lock")
    return not ours or _changed_at(f"{os.path.dirname(record)}/.repx.repx-cache.json") > ours


def _changed_at(path: str) -> int:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return 0
