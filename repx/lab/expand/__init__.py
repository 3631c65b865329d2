"""From a blueprint to a Lab: every combination of parameters becomes a job with an id of its own.

Runs alone, with Python 3.9 and its standard library: ``python3 repx/lab/expand --blueprint F
--output DIR``. ``repx/lab/blueprint.py`` says what a blueprint is, docs/lab-format.md (Job) what
an id is. Where ids differ from RepX 0.5's on purpose:

- Stages are expanded in topological order, so an id always covers the ids of its upstreams.
- A job that waits for a whole run hashes one digest of that run's sorted ids instead of all of
  them, or cost would be jobs x upstream jobs.

A stage is expanded over the axes that reach it or its upstreams, not over all of them: the jobs
are the same, the work is one step per job. The same blueprint gives the same bytes.
"""

from repx.lab.expand.lab import VERSION, expand, lab_id
from repx.lab.expand.order import ordered
from repx.lab.expand.runs import RESERVED_RUNS
from repx.lab.expand.store import store_name
from repx.lab.expand.text import (
    LAB_PATH,
    BlueprintError,
    compact,
    fill,
    holes,
    nix_hash,
    shown,
)

__all__ = [
    "LAB_PATH",
    "RESERVED_RUNS",
    "VERSION",
    "BlueprintError",
    "compact",
    "expand",
    "fill",
    "holes",
    "lab_id",
    "nix_hash",
    "ordered",
    "shown",
    "store_name",
]
