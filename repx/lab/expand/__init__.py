"""From a blueprint to a Lab: every combination of parameters becomes a job with its own id.

Needs only Python 3.9 and its standard library: ``python3 repx/lab/expand --blueprint F --output
DIR``. ``repx/lab/blueprint.py`` defines blueprints, docs/lab-format.md (Job) defines ids. Ids
differ from those of RepX 0.5 on purpose:

- Stages are expanded in topological order, so an id always covers the ids of its upstreams.
- A job that waits for a whole run hashes one digest of that run's sorted ids. Hashing all ids
  would cost jobs x upstream jobs.

A stage is expanded only over the axes of its own and its upstreams' parameters: the jobs are the
same, with one step of work per job. The same blueprint gives the same bytes.
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
