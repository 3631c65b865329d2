"""The problem: a European call one year from now, and what it is worth exactly."""

from __future__ import annotations

import math
from statistics import NormalDist

SPOT, STRIKE, RATE, VOLATILITY = 100.0, 105.0, 0.03, 0.2  # one year, continuous rate

_DRIFT = RATE - VOLATILITY**2 / 2
_DISCOUNT = math.exp(-RATE)


_D1 = (math.log(SPOT / STRIKE) + RATE + VOLATILITY**2 / 2) / VOLATILITY

DELTA = NormalDist().cdf(_D1)  # how far the price moves with the share


def share(z: float) -> float:
    """Return the share's discounted price when the normal number behind it is z."""
    return _DISCOUNT * SPOT * math.exp(_DRIFT + VOLATILITY * z)


def payoff(z: float) -> float:
    """Return the option's discounted payoff when the normal number behind it is z."""
    return max(share(z) - _DISCOUNT * STRIKE, 0.0)


def exact() -> float:
    """Return the price by the formula of Black and Scholes (1973)."""
    return SPOT * DELTA - STRIKE * _DISCOUNT * NormalDist().cdf(_D1 - VOLATILITY)
