"""Analysis of a Lab's results in Python, and the interface for stages written in Python.

``from repx_py import Lab; lab = Lab.from_path("result")`` (docs/analyse.md). Names are
loaded at first use, so that a stage that only needs ``stage`` loads nothing else.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from repx import __version__
    from repx.results.experiment import Experiment, JobCollection, JobView
    from repx.results.job import Job
    from repx.results.jobs import Jobs
    from repx.results.lab import Lab, Run
    from repx.results.loading import LoadError
    from repx.results.marker import Marker
    from repx.results.resolvers import ArtifactResolver, LocalCacheResolver, ManifestResolver
    from repx_py.stage_script import Stage, stage

__all__ = [
    "ArtifactResolver",
    "Experiment",
    "Job",
    "JobCollection",
    "JobView",
    "Jobs",
    "Lab",
    "LoadError",
    "LocalCacheResolver",
    "ManifestResolver",
    "Marker",
    "Run",
    "Stage",
    "__version__",
    "stage",
]

_HOME: Final = {
    "ArtifactResolver": "repx.results.resolvers",
    "Experiment": "repx.results.experiment",
    "Job": "repx.results.job",
    "JobCollection": "repx.results.experiment",
    "JobView": "repx.results.experiment",
    "Jobs": "repx.results.jobs",
    "Lab": "repx.results.lab",
    "LoadError": "repx.results.loading",
    "LocalCacheResolver": "repx.results.resolvers",
    "ManifestResolver": "repx.results.resolvers",
    "Marker": "repx.results.marker",
    "Run": "repx.results.lab",
    "Stage": "repx_py.stage_script",
    "__version__": "repx",
    "stage": "repx_py.stage_script",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401  # a class each
    if name not in _HOME:
        raise AttributeError(f"module 'repx_py' has no attribute '{name}'")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
