#!/usr/bin/env python3
"""Cuts the samples into chunks, each with a seed of its own: one work item per branch."""

from __future__ import annotations

import json

import repx_py


def main() -> None:
    stage = repx_py.stage()
    asked = stage.parameters
    share, rest = divmod(asked["samples"], asked["chunks"])
    items = [
        {"seed": f"{asked['seed']}/{asked['samples']}/{chunk}", "samples": share + (chunk < rest)}
        for chunk in range(asked["chunks"])
    ]
    stage.outputs["work__items"].write_text(json.dumps(items), encoding="utf-8")


main()
