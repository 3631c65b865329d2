"""Expand a blueprint file: ``python3 -m repx.lab.expand``, or ``python3`` and the folder's path."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if not __package__:  # started by the folder's path
    sys.path[0] = str(Path(__file__).resolve().parents[3])

from repx.lab.expand import BlueprintError, expand, lab_id

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Expand a blueprint file; exit code 2 when it describes no Lab."""
    parser = argparse.ArgumentParser(prog="repx-expand", description="Turn a blueprint into a Lab.")
    parser.add_argument("--blueprint", required=True, metavar="FILE", help="JSON; - is stdin")
    parser.add_argument("--output", required=True, metavar="DIR", help="new or empty")
    given = parser.parse_args(arguments)
    try:
        with contextlib.ExitStack() as stack:
            stream = sys.stdin
            if given.blueprint != "-":
                stream = stack.enter_context(open(given.blueprint, encoding="utf-8"))
            blueprint = json.load(stream)
        jobs = expand(blueprint, given.output)
    except (BlueprintError, OSError, RecursionError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{lab_id(blueprint)}: {sum(jobs.values())} jobs in {len(jobs)} runs", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
