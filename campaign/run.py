"""Make the attacks and print the table: python -m campaign.run [KIND]... [--quick]."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from campaign import copies, cuts, disks, faults, fuzz, kills, links, surroundings

if TYPE_CHECKING:
    from campaign.study import Verdict

COLUMNS: Final = ("attacks", "repeats", "doubles", "false", "lost", "stuck", "rude")
KINDS: Final[Mapping[str, Callable[[int, int], Verdict]]] = {
    "kills": kills.run,
    "links": links.run,
    "disks": disks.run,
    "faults": faults.run,
    "copies": copies.run,
    "cuts": cuts.run,
    "fuzz": fuzz.run,
    "surroundings": surroundings.run,
}
IMPOSSIBLE: Final[Mapping[str, Callable[[], str]]] = {
    "disks": disks.why_not,
    "faults": faults.why_not,
    "links": links.why_not,
    "cuts": cuts.why_not,
}
FULL: Final = {
    "kills": 1_100,
    "links": 200,
    "disks": 360,
    "faults": 180,
    "copies": 70,
    "cuts": 100,
    "fuzz": 10_000,
    "surroundings": 4_000,
}
QUICK: Final = {
    "kills": 28,
    "links": 20,
    "disks": 10,
    "faults": 10,
    "copies": 10,
    "cuts": 7,
    "fuzz": 300,
    "surroundings": 100,
}


def main() -> int:
    """Return 0 when no promise was broken, else 1."""
    parser = argparse.ArgumentParser(prog="campaign", description=__doc__)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help="default: all")
    parser.add_argument("--quick", action="store_true", help="a few attacks of each kind")
    parser.add_argument("--budget", type=int, help="number of attacks of each kind")
    parser.add_argument("--seed", type=int, default=1, help="equal seeds make equal attacks")
    given = parser.parse_args()
    unknown = sorted(set(given.kinds) - KINDS.keys())
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; there are: {', '.join(KINDS)}")
    sizes = QUICK if given.quick else FULL
    failures = 0
    print("".join(f"{name:>13}" for name in ("", *COLUMNS, "seconds")))
    for kind in given.kinds or KINDS:
        why_not = IMPOSSIBLE.get(kind, str)()
        if why_not:
            print(f"{kind:>13}  not made: {why_not}")
            continue
        start = time.monotonic()
        verdict = KINDS[kind](given.budget or sizes[kind], given.seed)
        figures = [getattr(verdict, name) for name in COLUMNS]
        figures.append(round(time.monotonic() - start))
        print("".join(f"{figure:>13}" for figure in (kind, *figures)), flush=True)
        for note in verdict.notes:
            print(note, file=sys.stderr)
        failures += verdict.failures
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
