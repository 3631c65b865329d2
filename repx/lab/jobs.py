"""The jobs of a Lab: checked when the Lab is opened, made into objects on demand.

Making a job takes ten times as long as checking it, and of 100,000 jobs most commands need
only a few: the jobs that have not succeeded, or the jobs to show.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from repx.errors import LabError
from repx.lab import metadata
from repx.lab.fields import FieldError
from repx.model import Job, JobId

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator

    from repx.lab.fields import Object


_PLAIN: Final = frozenset((str, int, float, bool, type(None)))


class Jobs(Mapping[JobId, Job]):
    """Every job by id; looking up a job that breaks the format raises LabError."""

    def __init__(
        self,
        documents: Mapping[JobId, Object],
        place: Callable[[JobId], str],
        own_names: Mapping[str, str] | None = None,
    ) -> None:
        """Keep the jobs' JSON; ``place`` gives the file of a job, for errors."""
        self._jobs: dict[JobId, Job | Object] = dict(documents)
        self._place = place
        self._own_names = own_names

    def __getitem__(self, job_id: JobId) -> Job:
        """Return a job, made at the first look-up."""
        found = self._jobs[job_id]
        if isinstance(found, Job):
            return found
        try:
            job = metadata.job(job_id, found, self._own_names)
        except FieldError as error:
            where = f"{self._place(job_id)}: field `jobs.{job_id}.{error.field}`"
            raise LabError(f"{where}: {error.problem}") from None
        self._jobs[job_id] = job
        return job

    def raw(self, job_id: JobId) -> Object | None:
        """Return the JSON of a job that is not made yet and has no values to rename, else None."""
        found = self._jobs[job_id]
        return None if isinstance(found, Job) or self._own_names else found

    def parameters(self, job_id: JobId) -> Mapping[str, object]:
        """Return a job's parameters as users wrote them; plain ones without making the job."""
        found = self._jobs[job_id]
        params = None if isinstance(found, Job) else found.get("params")
        if type(params) is not dict or not _PLAIN.issuperset(map(type, params.values())):
            return self[job_id].shown
        names = self._own_names
        if not names:
            return params
        return {key: names.get(value, value) for key, value in params.items()}

    def __iter__(self) -> Iterator[JobId]:
        """Yield the ids without making any job."""
        return iter(self._jobs)

    def __len__(self) -> int:
        """Return the number of jobs."""
        return len(self._jobs)

    def __contains__(self, job_id: object) -> bool:
        """Tell whether the job exists, without making it."""
        return job_id in self._jobs


def parameters(jobs: Mapping[JobId, Job], job_id: JobId) -> Mapping[str, object]:
    """Return a job's parameters as users wrote them, without making the job if possible."""
    return jobs.parameters(job_id) if isinstance(jobs, Jobs) else jobs[job_id].shown


def glance(
    documents: Mapping[JobId, Mapping[str, Any]], job_id: JobId, files: Container[str]
) -> tuple[JobId, ...] | None:
    """Return the needs of a simple job that is sound, None if the job needs a full check.

    Sound means: its executable is among ``files``, and every input is an output of a simple
    job or the store's base.
    """
    job = documents[job_id]
    try:
        main = job["executables"]["main"]
        if len(job["executables"]) > 1 or main["path"] not in files:
            return None
        if any(map(metadata.output_fault, (main.get("outputs") or {}).values())):
            return None
        needs = set()
        for source in main.get("inputs") or ():
            if source.get("source_run") is not None:
                return None
            producer = source.get("job_id")
            if producer is not None:
                outputs = documents[producer]["executables"]["main"]["outputs"]
                if type(outputs[source["source_output"]]) is not str:
                    return None
                needs.add(producer)
    except (AttributeError, KeyError, TypeError):
        return None
    return tuple(sorted(needs)) if len(needs) > 1 else tuple(needs)


def outline(
    jobs: Mapping[JobId, Job], job_id: JobId
) -> tuple[Mapping[str, object], dict[str, str]]:
    """Return a job's parameters as users wrote them, and the path of each executable.

    If its JSON is enough, the job is not made.
    """
    found = jobs.raw(job_id) if isinstance(jobs, Jobs) else None
    if found is not None:
        try:
            executables: Mapping[str, Any] = found["executables"]  # type: ignore[assignment]  # tried
            paths = {name: str(each["path"]) for name, each in executables.items()}
            if isinstance(params := found["params"], dict):
                return params, paths
        except (AttributeError, KeyError, TypeError):
            pass
    job = jobs[job_id]
    return job.shown, {name: each.path for name, each in job.executables.items()}
