"""The Labs that this user runs without being asked: built here, or accepted once."""

from __future__ import annotations

import hashlib
import logging
import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

    from repx.lab.load import OpenLab

log = logging.getLogger(__name__)

# Nix only adds paths that this machine built or that its administrator allowed.
_NIX_STORE: Final = "/nix/store/"


def is_trusted(opened: OpenLab, state: Path | None) -> bool:
    """Return whether the user built this Lab or accepted exactly this Lab before.

    ``state`` is repx's state folder of the user; where there is none, or it cannot be read, no
    acceptance is remembered.
    """
    if str(opened.root).startswith(_NIX_STORE):
        return True
    manifest = opened.files.read(opened.lab.manifest)
    if state is None:
        return False
    try:
        return _entry(manifest, state).exists()
    except OSError as error:
        log.debug("trust in a Lab cannot be looked up: %s", error)
        return False


def remember(manifest: bytes, state: Path | None) -> None:
    """Trust the Lab of a manifest; if that cannot be written, repx asks again next time."""
    if state is None:
        return
    entry = _entry(manifest, state)
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(entry, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600))
    except OSError as error:
        log.debug("trust in a Lab is not remembered: %s", error)


def _entry(manifest: bytes, state: Path) -> Path:
    """Return the file whose existence means trust in a Lab.

    Its name is a digest of the manifest, which has the sums of all other files. A Lab's id is not
    enough: another Lab with other programs could have the same id.
    """
    return state / "trusted" / hashlib.sha256(manifest).hexdigest()
