"""How the address of another machine is written: as ssh takes it, or with an IPv6 in brackets."""

from __future__ import annotations

import re
from typing import Final

_LAST_PORT: Final = 65535
_URI: Final = re.compile(r"ssh://(?:[^/]+@)?(?:\[[^][/]+\]|[^][/@:?#]+)(?::(?P<port>[0-9]+))?/?")
_BRACKETED: Final = re.compile(
    r"(?:ssh://)?(?:(?P<user>[^/]+)@)?\[(?P<host>[^][/]+)\](?::(?P<port>[0-9]+))?/?"
)
_WITH_PORT: Final = re.compile(r"[^/:]+:[0-9]+")
_WITH_PATH: Final = re.compile(r"(?P<host>[^/:]+):(?P<path>[~/$.].*)?")


def destination(address: str) -> tuple[str, ...]:
    """Return the last options and the destination for ssh, which takes no brackets."""
    found = _BRACKETED.fullmatch(address)
    if found is None:
        return ("--", address)
    user = f"{found['user']}@" if found["user"] else ""
    port = ("-p", found["port"]) if found["port"] else ()
    return (*port, "--", f"{user}{found['host']}")


def problem(address: str) -> str:
    """Return why ssh cannot take an address, and how it is written instead; empty if it can."""
    if found := _URI.fullmatch(address) or _BRACKETED.fullmatch(address):
        valid = found["port"] is None or 0 < int(found["port"]) <= _LAST_PORT
        return "" if valid else f"{found['port']} is no port"
    if "://" in address:
        return "ssh takes ssh://USER@HOST:PORT, and nothing after it; the folder is base_path"
    if _WITH_PORT.fullmatch(address):
        return f"for a port, write ssh://{address}"
    if path := _WITH_PATH.fullmatch(address):
        return f"write {path['host']} here; the folder is base_path"
    return ""
