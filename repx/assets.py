"""Where the files shipped beside the code are: ``schemas/``, ``templates/``."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def path(name: str) -> Path:
    """Return the place of a shipped file or folder, e.g. ``path("templates/job.sh.j2")``.

    An installed wheel carries them in ``repx/_data``; a checkout beside the package.
    """
    installed = _PACKAGE / "_data" / name
    return installed if installed.exists() else _PACKAGE.parent / name
