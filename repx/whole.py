"""Write small files of this machine as a whole, through no link."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def write(place: Path, content: str | bytes) -> None:
    """Replace a file, or a link in its place; readers see the old content or the new one.

    The folder may be somebody else's, so nobody can foresee the temporary name. Raises OSError.
    """
    data = content.encode() if isinstance(content, str) else content
    part = place.with_name(f".{os.urandom(12).hex()}.part")
    descriptor = os.open(part, _NEW, 0o666)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        part.replace(place)
    except BaseException:  # Ctrl-C too
        part.unlink(missing_ok=True)
        raise
