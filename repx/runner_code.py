"""The runner's own code (``repx/runner``) as files of a store, in a folder named by its content."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Final

ROOT: Final = "artifacts/runner"
ROOM: Final = "repx/runner"
_SOURCE: Final = Path(__file__).with_name("runner")


@cache
def files() -> dict[str, bytes]:
    """Return the modules by path in the folder; start.py is last, since it needs the others."""
    names = sorted(path.name for path in _SOURCE.glob("*.py") if path.name != "start.py")
    return {f"{ROOM}/{name}": (_SOURCE / name).read_bytes() for name in [*names, "start.py"]}


@cache
def folder() -> str:
    """Return the key of the folder in a store."""
    digest = hashlib.sha256()
    for name, content in files().items():
        digest.update(f"{name} {len(content)}\n".encode() + content)
    return f"{ROOT}/{digest.hexdigest()[:32]}"


def start(base: str) -> str:
    """Return the path of the program that starts the local scheduler, in the store at ``base``."""
    return f"{base}/{folder()}/{ROOM}/start.py"
