"""Shared results on any file system of fsspec: packs named by content, written before entries.

packs/<job>.<sha256>.tar.gz   the files of one job, each below its folder in a store
entries/<job>.json            its marker: sum and size of the pack, user, host and time

A folder and ``ssh://`` use the same code as a target's store (``repx.filesystem``), so that no user
can change the results of another. A zip is rewritten to a temporary file and renamed.
"""

from __future__ import annotations

from repx.archive import location
from repx.archive.entries import Added, Archive

__all__ = ["Added", "Archive", "of"]


def of(url: str, ssh_config: str | None = None) -> Archive:
    """Return the archive at a URL or a path.

    Raises InputError for a URL with a password, StorageError if the archive cannot be opened.
    """
    return Archive(url, location.opened(url, ssh_config))
