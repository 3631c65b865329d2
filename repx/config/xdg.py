"""The current folder and the folders of the XDG Base Directory Specification 0.8."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from repx.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping


UTF8_WANTED: Final = "jobs read the store's path in JSON, so name another folder"


def current_folder() -> Path:
    """Return the current folder. Raises InputError when the folder was deleted."""
    try:
        return Path.cwd()
    except FileNotFoundError as error:
        raise InputError(
            "the current folder has been deleted", hint="go to another one, e.g. `cd ~`"
        ) from error


def config(env: Mapping[str, str]) -> Path | None:
    """Return repx's folder of settings; None when even HOME is not set."""
    return _folder(env, "XDG_CONFIG_HOME", ".config")


def data(env: Mapping[str, str]) -> Path | None:
    """Return repx's folder of results; None when even HOME is not set."""
    return _folder(env, "XDG_DATA_HOME", ".local/share")


def cache(env: Mapping[str, str]) -> Path | None:
    """Return repx's cache folder; None when even HOME is not set."""
    return _folder(env, "XDG_CACHE_HOME", ".cache")


def state(env: Mapping[str, str]) -> Path | None:
    """Return repx's folder of the user's state; None when even HOME is not set."""
    return _folder(env, "XDG_STATE_HOME", ".local/state")


def not_utf8(path: str) -> str | None:
    """Return the text to show for a path whose bytes are not UTF-8; None for other paths."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return os.fsencode(path).decode(errors="backslashreplace")
    return None


def _folder(env: Mapping[str, str], variable: str, default: str) -> Path | None:
    """Return repx's folder in a base directory; a relative path counts as not set."""
    base = Path(env.get(variable, ""))
    if base.is_absolute():
        return base / "repx"
    return Path(env["HOME"]) / default / "repx" if env.get("HOME") else None
