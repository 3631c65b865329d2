"""The module of RepX 0.5's analysis classes: ``from repx_py.models import Experiment``."""

from repx.results.experiment import Experiment, JobCollection, JobView
from repx.results.resolvers import ArtifactResolver, LocalCacheResolver, ManifestResolver

__all__ = [
    "ArtifactResolver",
    "Experiment",
    "JobCollection",
    "JobView",
    "LocalCacheResolver",
    "ManifestResolver",
]
