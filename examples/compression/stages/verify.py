#!/usr/bin/env python3
"""Unpacks what was packed, fails unless every byte is back, and notes how long that took."""

from __future__ import annotations

import sys

import tools

import repx_py


def main() -> None:
    stage = repx_py.stage()
    packed = stage.inputs["packed"].read_bytes()
    unpack = tools.UNPACK[stage.parameters["tool"]]
    data, seconds = tools.timed(lambda: unpack(packed), stage.parameters["budget_s"])
    if data != stage.inputs["corpus"].read_bytes():
        sys.exit("the round trip changed the data")
    stage.outputs["unpack_seconds"].write_text(f"{seconds}\n", encoding="utf-8")
    print(f"{len(data)} bytes are back after {seconds:.3f} s")


main()
