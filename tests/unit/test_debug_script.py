"""The script of `repx debug-run` for isolated jobs: what it reads calls nothing that is absent."""

from __future__ import annotations

import re
from typing import Final

from repx import assets
from repx.runtimes import RUNTIMES

_DEFINED: Final = re.compile(r"^(repx_\w+)\(\)", re.MULTILINE)
_CALLED: Final = re.compile(r"(?<![$\w{#!\[@/-])repx_\w+(?![\w=])")  # not a variable's name


def _text(name: str) -> str:
    return assets.path(f"templates/{name}").read_text(encoding="utf-8")


def test_every_function_that_isolation_calls_is_there() -> None:
    """In a job's own file lib.sh and exceptional.sh have further ones."""
    read = [_text(name) for name in ("debug.sh.j2", "runtime.sh", "unpack.sh")]
    read += [text for runtime in RUNTIMES.values() for text in runtime.functions]
    there = {name for text in read for name in _DEFINED.findall(text)}
    elsewhere = {
        name for each in ("lib.sh", "exceptional.sh") for name in _DEFINED.findall(_text(each))
    }

    called = {name for text in read for name in _CALLED.findall(text)}

    assert set() == (called & elsewhere) - there
