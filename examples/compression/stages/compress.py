#!/usr/bin/env python3
"""Compresses a corpus with one tool at one level and notes how long that took."""

from __future__ import annotations

import tools

import repx_py


def main() -> None:
    stage = repx_py.stage()
    asked = stage.parameters
    data = stage.inputs["corpus"].read_bytes()
    pack = tools.PACK[asked["tool"]]
    packed, seconds = tools.timed(lambda: pack(data, asked["level"]), asked["budget_s"])
    stage.outputs["packed"].write_bytes(packed)
    stage.outputs["pack_seconds"].write_text(f"{seconds}\n", encoding="utf-8")
    print(f"{len(data)} -> {len(packed)} bytes in {seconds:.3f} s")


main()
