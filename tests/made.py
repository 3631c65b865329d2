"""Model values as tests need them: what a test does not speak of is the same everywhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from repx.model import Job, Lab, Run
from repx.plan import Unit
from repx.target import Resources, RuntimeName


def made_lab(runs: Mapping[str, Run], jobs: Mapping[str, Job], **fields: Any) -> Lab:  # noqa: ANN401  # a Lab's other fields
    """Return a Lab without files and groups, unless ``fields`` say otherwise."""
    rest: dict[str, Any] = {
        "id": "lab",
        "version": "1",
        "repx_version": "0.5.0",
        "git_hash": "",
        "manifest": "lab/lab-metadata.json",
        "metadata": "revision/metadata-top.json",
        "host_tools": None,
        "groups": {},
        "files": {},
    }
    return Lab(runs=runs, jobs=jobs, **(rest | fields))


def made_units(
    job: Job, resources: Resources | None = None, **phases: Resources
) -> tuple[Unit, ...]:
    """Return the native units of a job; a phase asks for what its name says, else ``resources``.

    The names of steps are written with ``_`` for ``-``.
    """
    common = resources or Resources()
    return tuple(
        Unit(
            phase=phase,
            ladder=(phases.get(phase.name.replace("-", "_"), common),),
            runtimes=(RuntimeName.NATIVE,),
        )
        for phase in job.phases
    )
