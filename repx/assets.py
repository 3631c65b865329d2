"""Paths of the files that are shipped with the code: ``schemas/``, ``templates/``."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def path(name: str) -> Path:
    """Return the place of a shipped file or folder, e.g. ``path("templates/job.sh.j2")``.

    An installed wheel has these files in ``repx/_data``, a checkout has them beside the package.
    """
    installed = _PACKAGE / "_data" / name
    return installed if installed.exists() else _PACKAGE.parent / name
