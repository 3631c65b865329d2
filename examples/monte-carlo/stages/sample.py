#!/usr/bin/env python3
"""Draws the discounted payoffs of a European call for one chunk."""

from __future__ import annotations

import json
import math
import random
from array import array
from typing import TYPE_CHECKING

import option

import repx_py

if TYPE_CHECKING:
    from collections.abc import Iterator


def plain(rng: random.Random, samples: int) -> Iterator[float]:
    """Yield one payoff per normal number."""
    for _ in range(samples):
        yield option.payoff(rng.gauss(0, 1))


def antithetic(rng: random.Random, samples: int) -> Iterator[float]:
    """Yield the mean of the payoffs at z and at -z: what one overshoots the other misses."""
    for _ in range(samples // 2):
        z = rng.gauss(0, 1)
        yield (option.payoff(z) + option.payoff(-z)) / 2


def control(rng: random.Random, samples: int) -> Iterator[float]:
    """Yield payoffs less what the share alone explains, since its mean is known."""
    for _ in range(samples):
        z = rng.gauss(0, 1)
        yield option.payoff(z) - option.DELTA * (option.share(z) - option.SPOT)


METHODS = {"plain": plain, "antithetic": antithetic, "control": control}


def main() -> None:
    stage = repx_py.stage()
    item = json.loads(stage.inputs["worker__item"].read_text(encoding="utf-8"))
    draw = METHODS[stage.parameters["method"]]
    values = array("d", draw(random.Random(item["seed"]), item["samples"]))
    stage.outputs["payoffs"].write_bytes(values.tobytes())
    print(f"{len(values)} values, mean {math.fsum(values) / len(values):.4f}")


main()
