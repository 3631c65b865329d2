"""Find the settings files of RepX 0.5."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from repx.config import xdg

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

CONFIG: Final = "config.toml"
RESOURCES: Final = "resources.toml"


def files(cwd: Path, env: Mapping[str, str]) -> tuple[Path | None, list[Path]]:
    """Return the user's ``config.toml``, if any, and the user's and the folder's resources."""
    folder = xdg.config(env)
    config = folder / CONFIG if folder else None
    found = [place / RESOURCES for place in (folder, cwd) if place is not None]
    return (
        config if config is not None and config.is_file() else None,
        [path for path in found if path.is_file()],
    )
