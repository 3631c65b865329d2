"""Model values as tests need them: what a test does not speak of is the same everywhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from repx.model import Job, Lab, Run


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
