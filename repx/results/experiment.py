"""``Experiment``: the analysis classes of RepX 0.5, so that code written for them runs unchanged.

The classes read the metadata unchanged, without a store; a resolver gives paths. Unlike ``Lab``,
they do not verify files and have no status.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self, cast, overload

from repx.model import SELF
from repx.results import frame, loading
from repx.results.effective import effective
from repx.results.resolvers import LocalCacheResolver

if TYPE_CHECKING:
    from repx.results.resolvers import ArtifactResolver

log = logging.getLogger(__name__)

Metadata = dict[str, Any]

_TEXT_TESTS: Final[Mapping[str, Callable[[str, str], bool]]] = {
    "startswith": str.startswith,
    "endswith": str.endswith,
    "contains": str.__contains__,
}
_ABSENT: Final = object()


class Experiment:
    """The runs and jobs of a Lab folder, or of one run's metadata file."""

    def __init__(
        self,
        lab_path: str | Path | None = None,
        resolver: ArtifactResolver | None = None,
        _preloaded_metadata: Mapping[str, Metadata] | None = None,
    ) -> None:
        """Read the Lab, or take metadata by run name. Raises ValueError without either."""
        if lab_path is None and _preloaded_metadata is None:
            raise ValueError("Experiment needs lab_path or metadata")
        self.path = None if lab_path is None else Path(lab_path)
        self.resolver: ArtifactResolver = resolver or LocalCacheResolver()
        self._runs: dict[str, Metadata] = (
            dict(_preloaded_metadata)
            if _preloaded_metadata is not None
            else _read_lab(cast("Path", self.path))
        )
        self._jobs: dict[str, Metadata] = {
            job: metadata
            for run in self._runs.values()
            for job, metadata in (run.get("jobs") or {}).items()
        }
        self._views: dict[str, JobView] = {}
        self._effective: dict[str, dict[str, Any]] | None = None

    @classmethod
    def from_run_metadata(cls, metadata_path: str | Path, store_base: str | Path) -> Self:
        """Open one run from inside a job: its inputs ``metadata__<run>`` and ``store__base``.

        Raises FileNotFoundError, and ValueError for a file that is not a run's metadata.
        """
        metadata = _read(Path(metadata_path))
        if metadata.get("type") != "run":
            raise ValueError(f"{metadata_path} is not the metadata of a run")
        outputs = Path(store_base) / "outputs"
        resolver = LocalCacheResolver(outputs if outputs.is_dir() else store_base)
        return cls(resolver=resolver, _preloaded_metadata={metadata["name"]: metadata})

    def runs(self) -> dict[str, Metadata]:
        """Return each run's metadata by name."""
        return self._runs

    def jobs(self) -> JobCollection:
        """Return every job."""
        return JobCollection(self, list(self._jobs))

    def get_job(self, job_id: str) -> JobView:
        """Return one job, the same object each time. Raises KeyError when there is none."""
        if job_id not in self._views:
            if job_id not in self._jobs:
                raise KeyError(f"job '{job_id}' not found (an id begins with its hash)")
            self._views[job_id] = JobView(job_id, self._jobs[job_id], self)
        return self._views[job_id]

    def get_run_for_job(self, job_id: str) -> tuple[str, Metadata]:
        """Return name and metadata of the last run with the job.

        Raises KeyError when there is none.
        """
        for name, run in reversed(self._runs.items()):
            if job_id in (run.get("jobs") or {}):
                return name, run
        raise KeyError(f"job '{job_id}' not found in any run")

    @property
    def effective_params(self) -> dict[str, dict[str, Any]]:
        """Return each job's parameters with those of its upstream jobs; the nearest job wins."""
        if self._effective is None:
            self._effective = effective(
                {job: metadata.get("params") or {} for job, metadata in self._jobs.items()},
                lambda job: _upstream(self._jobs[job]),
            )
        return self._effective


class JobCollection(Sequence["JobView"]):
    """Some jobs of an Experiment."""

    def __init__(self, experiment: Experiment, ids: Sequence[str]) -> None:
        """Take the ids of jobs that the experiment has."""
        self._experiment = experiment
        self._ids = ids

    def __len__(self) -> int:
        """Return the number of jobs."""
        return len(self._ids)

    def __iter__(self) -> Iterator[JobView]:
        """Return the jobs one by one."""
        return (self._experiment.get_job(job) for job in self._ids)

    @overload
    def __getitem__(self, index: int) -> JobView: ...
    @overload
    def __getitem__(self, index: slice) -> JobCollection: ...
    def __getitem__(self, index: int | slice) -> JobView | JobCollection:
        """Return one job by position, or a slice of them."""
        if isinstance(index, slice):
            return JobCollection(self._experiment, self._ids[index])
        return self._experiment.get_job(self._ids[index])

    def __repr__(self) -> str:
        """Show the number of jobs."""
        return f"<JobCollection {len(self)} jobs>"

    def filter(
        self,
        predicate: Callable[[JobView], bool] | None = None,
        **conditions: Any,  # noqa: ANN401  # any attribute, any value
    ) -> JobCollection:
        """Return the jobs that pass all tests; a job without the attribute fails.

        ``attribute=`` tests equality; ``__startswith``, ``__endswith`` and ``__contains`` test the
        text; another operator warns and tests equality. Parameters are not attributes.
        """
        tests = [_test(key, wanted) for key, wanted in conditions.items()]
        self._warn_of_unknown(conditions)
        return JobCollection(
            self._experiment,
            [
                job.id
                for job in self
                if all(test(job) for test in tests) and (predicate is None or predicate(job))
            ],
        )

    def _warn_of_unknown(self, conditions: Collection[str]) -> None:
        """Warn of attributes that no job has: they drop every job, and are often parameters."""
        for word in conditions:
            name = _name_and_operator(word)[0]
            if self and not any(hasattr(job, name) for job in self):
                log.warning(
                    "no job has the attribute '%s'; for a parameter, filter with a function:"
                    " filter(lambda job: job.effective_params.get(%r) == ...)",
                    name,
                    name.removeprefix("param_"),
                )

    def to_dataframe(self) -> Any:  # noqa: ANN401  # pandas has no types here
        """Return name and effective parameters, one row per job, indexed by ``job_id``."""
        return frame.of_rows((job.id, {"name": job.name}, job.effective_params) for job in self)


class JobView:
    """One job of an Experiment; attributes it lacks are looked up in the job's metadata."""

    def __init__(self, job_id: str, metadata: Metadata, experiment: Experiment) -> None:
        """Keep the job's metadata and its experiment."""
        self.id = job_id
        self._metadata = metadata
        self._experiment = experiment

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  # whatever the metadata holds
        """Return a field of the metadata. Raises AttributeError when there is none."""
        # Test private names first: copy and pickle look names up before `_metadata` exists.
        if name.startswith("_") or name not in self._metadata:
            raise AttributeError(f"'JobView' object has no attribute '{name}'", name=name, obj=self)
        return self._metadata[name]

    def __repr__(self) -> str:
        """Show the id."""
        return f"<JobView {self.id}>"

    @property
    def name(self) -> str:
        """Return ``<stage>-<version>``."""
        return self._metadata.get("name") or self.id.partition("-")[2]

    @property
    def stage_type(self) -> str:
        """Return ``simple`` or ``scatter-gather``."""
        return self._metadata.get("stage_type") or "simple"

    @property
    def params(self) -> dict[str, Any]:
        """Return the job's own parameters."""
        return self._metadata.get("params") or {}

    @property
    def effective_params(self) -> dict[str, Any]:
        """Return the job's parameters with those of its upstream jobs."""
        return self._experiment.effective_params[self.id]

    @property
    def executable_path(self) -> str | None:
        """Return the path of a simple job's program inside the Lab, else None."""
        return _executable(self._metadata, "main").get("path")

    @property
    def input_mappings(self) -> list[Metadata]:
        """Return the sources of the inputs of ``main`` or ``scatter``."""
        return _mappings(self._metadata)

    @property
    def outputs(self) -> dict[str, Any]:
        """Return the templates of the outputs of ``main`` or ``gather``."""
        return _executable(self._metadata, "main", "gather").get("outputs") or {}

    @property
    def dependencies(self) -> JobCollection:
        """Return the jobs whose outputs this job reads, as far as the experiment has them."""
        known = self._experiment.effective_params
        return JobCollection(
            self._experiment, [job for job in _upstream(self._metadata) if job in known]
        )

    def get_output_path(self, key: str) -> Path:
        """Return the path of a declared output. Raises KeyError with the declared names."""
        if key not in self.outputs:
            raise KeyError(
                f"output '{key}' not found in job {self.id}; outputs: {sorted(self.outputs)}"
            )
        return self._experiment.resolver.resolve_path(
            self, str(self.outputs[key]).removeprefix("$out/")
        )

    def load_csv(self, key_or_filename: str, **options: Any) -> Any:  # noqa: ANN401  # a DataFrame
        """Load an output, or a file beside the outputs, with ``pandas.read_csv``."""
        if key_or_filename in self.outputs:
            path = self.get_output_path(key_or_filename)
        else:
            path = self._experiment.resolver.resolve_path(self, key_or_filename)
        try:
            return loading.load_csv(path, **options)
        except loading.LoadError as error:  # old code catches pandas' own exceptions
            cause = cast("ValueError", error.__cause__)
            if isinstance(cause, UnicodeDecodeError):
                raise
            raise type(cause)(error.message) from cause


def _test(key: str, wanted: Any) -> Callable[[JobView], bool]:  # noqa: ANN401  # any value
    name, word = _name_and_operator(key)
    compare = _TEXT_TESTS.get(word)
    if word and compare is None:
        log.warning("unknown operator '__%s' in '%s': compared for equality", word, key)

    def holds(job: JobView) -> bool:
        value = getattr(job, name, _ABSENT)
        if value is _ABSENT:
            return False
        return bool(value == wanted) if compare is None else compare(str(value), wanted)

    return holds


def _name_and_operator(key: str) -> tuple[str, str]:
    name, separator, word = key.rpartition("__")
    return (name, word) if separator and name else (key, "")


def _executable(metadata: Metadata, *names: str) -> Metadata:
    executables = metadata.get("executables") or {}
    return next((executables[name] for name in names if executables.get(name)), {})


def _mappings(metadata: Metadata) -> list[Metadata]:
    return _executable(metadata, "main", "scatter").get("inputs") or []


def _upstream(metadata: Metadata) -> list[str]:
    """Return the upstream jobs of a job, each once, in the order of its inputs."""
    found = (mapping.get("job_id") for mapping in _mappings(metadata))
    return list(dict.fromkeys(job for job in found if job and job != SELF))


def _read(path: Path) -> Metadata:
    content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise ValueError(f"{path} is not a JSON object")  # noqa: TRY004  # the file, not a type
    return content


def _read_lab(lab: Path) -> dict[str, Metadata]:
    """Return the metadata of every run that can be read."""
    folder = lab / "lab" if (lab / "lab").is_dir() else lab
    manifests = sorted(folder.glob("*.json"))
    if not manifests:
        raise FileNotFoundError(f"no Lab in {lab}: there is no *.json in {folder}")
    root = _read(lab / _read(manifests[0])["metadata"])
    runs: dict[str, Metadata] = {}
    for place in root["runs"]:
        try:
            run = _read(lab / place)
            runs[run["name"]] = run
        except (OSError, ValueError, KeyError) as error:
            log.warning("skipped the run in %s: %s", place, error)
    return runs
