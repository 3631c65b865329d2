"""Paths of a job's files, for ``Experiment``: in a cache of jobs, or in a manifest's folders."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from repx.results.experiment import JobView


@runtime_checkable
class ArtifactResolver(Protocol):
    """Finds an output of a job."""

    def resolve_path(self, job: JobView, relative_path: str | Path) -> Path:
        """Return the path of a file given relative to the job's output folder."""
        ...


class LocalCacheResolver:
    """Finds outputs as ``<cache_dir>/<job id>/out/<file>``; for a store, use ``B/outputs``."""

    def __init__(self, cache_dir: str | Path = ".repx-cache") -> None:
        """Take the folder that holds one folder per job."""
        self.cache_dir = Path(cache_dir).absolute()

    def resolve_path(self, job: JobView, relative_path: str | Path) -> Path:
        """Return the path, whether or not the file exists."""
        return self.cache_dir / job.id / "out" / relative_path


class ManifestResolver:
    """Finds outputs in folders listed by job id."""

    def __init__(self, job_output_map: Mapping[str, str | Path]) -> None:
        """Take the output folder of each job."""
        self.mapping = {job: Path(folder) for job, folder in job_output_map.items()}

    def resolve_path(self, job: JobView, relative_path: str | Path) -> Path:
        """Return the path, whether or not the file exists.

        Raises FileNotFoundError for a job that is not in the manifest.
        """
        if job.id not in self.mapping:
            raise FileNotFoundError(f"job {job.id} not found in the manifest")
        return self.mapping[job.id] / relative_path
