#!/usr/bin/env python3
"""Turns sizes and times into one row of the result: ratio and speeds."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import repx_py

if TYPE_CHECKING:
    from pathlib import Path


def megabytes_per_second(size: int, seconds: Path) -> float:
    return size / 1e6 / float(seconds.read_text(encoding="utf-8"))


def main() -> None:
    stage = repx_py.stage()
    asked = stage.parameters
    size = stage.inputs["corpus"].stat().st_size
    row = {
        "kind": asked["kind"],
        "tool": asked["tool"],
        "level": asked["level"],
        "ratio": round(size / stage.inputs["packed"].stat().st_size, 3),
        "pack_mb_s": round(megabytes_per_second(size, stage.inputs["pack_seconds"]), 2),
        "unpack_mb_s": round(megabytes_per_second(size, stage.inputs["unpack_seconds"]), 2),
    }
    stage.outputs["row"].write_text(json.dumps(row), encoding="utf-8")


main()
