#!/usr/bin/env python3
"""Collects real bytes of one kind from this machine's Python, always the same ones."""

from __future__ import annotations

import math
import random
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

import repx_py

if TYPE_CHECKING:
    from collections.abc import Iterator

LIBRARY = Path(sysconfig.get_path("stdlib"))
NOT_OURS = {"site-packages", "dist-packages", "__pycache__", "test", "tests"}


def text() -> Iterator[bytes]:
    """Yield the standard library's source files."""
    for path in sorted(LIBRARY.rglob("*.py")):
        if NOT_OURS.isdisjoint(path.parts):
            yield path.read_bytes()


def binary() -> Iterator[bytes]:
    """Yield the standard library's compiled modules, then the interpreter itself."""
    for path in [*sorted(LIBRARY.glob("lib-dynload/*.so")), Path(sys.executable).resolve()]:
        yield path.read_bytes()


def table() -> Iterator[bytes]:
    """Yield the log of a made-up weather station: a timestamp and three slow random walks."""
    rng = random.Random(1)
    temperature, pressure, humidity = 15.0, 1013.0, 60.0
    yield b"minute,temperature_c,pressure_hpa,humidity_percent\n"
    for minute in range(10**9):
        day = math.sin(minute * math.tau / 1440)
        temperature += rng.gauss(0.02 * day, 0.05)
        pressure += rng.gauss(0, 0.02)
        humidity += rng.gauss(-0.03 * day, 0.1)
        yield f"{minute},{temperature:.2f},{pressure:.2f},{humidity:.1f}\n".encode()


def main() -> None:
    stage = repx_py.stage()
    wanted = stage.parameters["kilobytes"] * 1024
    pieces = {"text": text, "binary": binary, "table": table}[stage.parameters["kind"]]()
    corpus = bytearray()
    while len(corpus) < wanted and (piece := next(pieces, None)) is not None:
        corpus += piece
    stage.outputs["corpus"].write_bytes(corpus[:wanted])
    print(f"{min(len(corpus), wanted)} bytes of {stage.parameters['kind']}")


main()
