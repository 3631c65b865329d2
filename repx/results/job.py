"""One job of a Lab for analysis: parameters, outputs, logs, status."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from repx import stale
from repx.errors import InputError, did_you_mean
from repx.model import SELF, short_id, stage_of
from repx.results import loading, marker
from repx.results.remote import OnDemand
from repx.status import State

if TYPE_CHECKING:
    from collections.abc import Callable

    from repx.model import Input, JobId, RunName
    from repx.model import Job as Definition
    from repx.results.jobs import Jobs
    from repx.results.lab import Lab

T = TypeVar("T")

_WAYS_OUT: Final[Mapping[State, str]] = {
    State.FAILED: "log --stderr",
    State.PENDING: "run",
    State.STALE: "run",
    State.SUCCEEDED: "run --force --remake",  # the file was removed
}


@dataclass(frozen=True, slots=True)
class Job:
    """A view of a job: reads data on demand and caches nothing.

    Cheap to make, to copy and to pickle (the pickle has the Lab's path).
    """

    lab: Lab
    id: JobId

    def __repr__(self) -> str:
        """Show the short id and the status."""
        return f"<Job {short_id(self.id)} {self.status}>"

    def __lt__(self, other: object) -> bool:
        """Sort by the position in the Lab. Jobs of different Labs have no order."""
        if not isinstance(other, Job) or other.lab != self.lab:
            return NotImplemented
        return self.lab.position[self.id] < self.lab.position[other.id]

    @property
    def definition(self) -> Definition:
        """Return the job's definition in the Lab: executables, inputs, requested resources."""
        return self.lab.model.jobs[self.id]

    @property
    def name(self) -> str:
        """Return ``<stage>-<version>``."""
        return self.definition.name

    @property
    def stage(self) -> str:
        """Return the stage's name."""
        return stage_of(self.id)

    @property
    def stage_type(self) -> str:
        """Return ``simple`` or ``scatter-gather``."""
        return self.definition.stage_type.value

    @property
    def runs(self) -> tuple[RunName, ...]:
        """Return the runs that the job belongs to; equal jobs of several runs are one job."""
        return self.lab.runs_of[self.id]

    @property
    def params(self) -> dict[str, Any]:
        """Return the job's own parameters; files are given by their own names."""
        return dict(self.definition.shown)

    @property
    def effective_params(self) -> dict[str, Any]:
        """Return the job's parameters and those of its upstream jobs; the nearest job wins."""
        return dict(self.lab.effective_params[self.id])

    @property
    def status(self) -> State:
        """Return succeeded, stale, failed, or pending as long as the job has not ended.

        Stale: the job succeeded, and an upstream job has run again since.
        """
        ended = self.marker
        if ended is None:
            return State.PENDING
        done = ended.outcome is State.SUCCEEDED
        is_stale = done and stale.culprits(self.lab.store, self.lab.model, [self.id])
        return State.STALE if is_stale else ended.outcome

    @property
    def marker(self) -> marker.Marker | None:
        """Return how the job ended, or None as long as the job has not ended."""
        return marker.read(self.lab.store, self.definition)

    @property
    def duration_s(self) -> float | None:
        """Return the wall time in seconds, or None if unknown."""
        ended = self.marker
        return None if ended is None else ended.duration_s

    @property
    def path(self) -> Path:
        """Return the folder of the job's outputs, which may not exist yet."""
        self.lab.bring({self.id: ()})
        return self._out

    @property
    def outputs(self) -> dict[str, Path]:
        """Return the path of every declared output by name; files exist once the job ended.

        Outputs on another machine are copied here when their path is looked up.
        """
        if self.lab.remote is None:
            return self._declared
        return OnDemand(self._declared, self._bring)

    @property
    def _out(self) -> Path:
        return Path(self.lab.kept.outputs(self.id), "out")

    @property
    def _declared(self) -> dict[str, Path]:
        return {
            name: _place(self._out, template)
            for name, template in self.definition.final.outputs.items()
            if isinstance(template, str)
        }

    def places(self, names: Collection[str]) -> list[str]:
        """Return the paths of outputs below the job's folder, by declared name or file name."""
        declared, home = self._declared, self.lab.kept.outputs(self.id)
        paths = (declared.get(name, self._out / _on_disk(name)) for name in names)
        return [os.path.relpath(path, home) for path in paths]

    def _bring(self, names: Collection[str]) -> None:
        self.lab.bring({self.id: self.places(names)})

    @property
    def inputs(self) -> dict[str, Path]:
        """Return the path of every input by name, as the job gets them."""
        sources = self.definition.entry.inputs
        found = {source.target: self._source(source) for source in sources}
        return {name: path for name, path in found.items() if path is not None}

    @property
    def stdout(self) -> str:
        """Return the job's standard output; empty before it starts."""
        return self._log("stdout.log")

    @property
    def stderr(self) -> str:
        """Return the job's standard error; empty before it starts."""
        return self._log("stderr.log")

    @property
    def dependencies(self) -> Jobs:
        """Return the jobs whose outputs this job reads."""
        return self.lab.select(self.lab.model.needs[self.id])

    @property
    def dependents(self) -> Jobs:
        """Return the jobs that read this job's outputs."""
        return self.lab.select(self.lab.dependents[self.id])

    @property
    def ancestors(self) -> Jobs:
        """Return every job that must end before this job, in the Lab's order."""
        return self.lab.reachable(self.id, self.lab.model.needs)

    @property
    def descendants(self) -> Jobs:
        """Return every job that must wait for this job, in the Lab's order."""
        return self.lab.reachable(self.id, self.lab.dependents)

    def output(self, name: str) -> Path:
        """Return the path of an existing output, by its declared name or its file name.

        Raises InputError when the job does not declare the output or has not written it.
        """
        declared = self._declared
        self._bring([name])
        path = declared.get(name, self._out / _on_disk(name))
        if path.exists():
            return path
        if name in declared:
            raise InputError(f"{path} is missing: {self._why_missing()}", hint=self._way_out())
        raise InputError(
            f"job {short_id(self.id)} has no output '{name}'",
            hint=did_you_mean(name, declared) or f"outputs: {', '.join(declared) or 'none'}",
        )

    def load(self, name: str, **options: Any) -> Any:  # noqa: ANN401  # depends on the file
        """Load an output by its suffix: csv and tsv, json, npy and npz, text.

        Raises LoadError, which names job and file, when the file is empty, cut off or in another
        encoding. The other loaders do the same.
        """
        return self._load(loading.load, name, options)

    def load_csv(self, name: str, **options: Any) -> Any:  # noqa: ANN401  # a DataFrame
        """Load an output with ``pandas.read_csv``, which gets the options."""
        return self._load(loading.load_csv, name, options)

    def load_rows(self, name: str, **options: Any) -> list[dict[str, str]]:  # noqa: ANN401
        """Load a table without pandas: one dict of strings per row; options go to ``csv``."""
        return self._load(loading.load_rows, name, options)

    def load_json(self, name: str, **options: Any) -> Any:  # noqa: ANN401  # whatever the file holds
        """Load an output as JSON; ``encoding=`` when it is not UTF-8."""
        return self._load(loading.load_json, name, options)

    def load_text(self, name: str, **options: Any) -> str:  # noqa: ANN401  # only encoding
        """Load an output as text; ``encoding=`` when it is not UTF-8."""
        return self._load(loading.load_text, name, options)

    def load_numpy(self, name: str, **options: Any) -> Any:  # noqa: ANN401  # an array
        """Load an output with ``numpy.load``, which gets the options."""
        return self._load(loading.load_numpy, name, options)

    def _load(self, loader: Callable[..., T], name: str, options: Mapping[str, object]) -> T:
        try:
            return loader(self.output(name), **options)
        except loading.LoadError as error:
            raise loading.LoadError(
                f"job {short_id(self.id)}: {error.message}",
                hint=error.hint or f"what the job printed: {self.lab.command('log', self.id)}",
            ) from error.__cause__

    def _log(self, name: str) -> str:
        return self.lab.store.read_text(f"outputs/{self.id}/repx/{name}") or ""

    def _why_missing(self) -> str:
        ended = self.marker
        if ended is None:
            return f"job {short_id(self.id)} has not ended"
        reason = f": {ended.reason}" if ended.reason else ""
        return f"job {short_id(self.id)} {ended.outcome}{reason}"

    def _way_out(self) -> str:
        """Return the command that explains a missing output or produces it."""
        if self.lab.is_copy():
            return f"copy outputs/{self.id} to {self.lab.store.root} from the store where it ran"
        return self.lab.command(_WAYS_OUT[self.status], self.id)

    def _source(self, source: Input) -> Path | None:
        """Return the path of one input (docs/lab-format.md, Input); None for work items."""
        if source.job_id and source.job_id != SELF and source.source_output:
            return self.lab.job(source.job_id).outputs.get(source.source_output)
        if source.type == "global" or source.target == "store__base":
            return Path(self.lab.kept.root)
        if source.source_run:
            return self.lab.metadata_of(source.source_run)
        return None


def _place(out: Path, template: str) -> Path:
    return out / _on_disk(template).replace("$out", str(out))


def _on_disk(name: str) -> str:
    """Return a file name of the Lab in this process's encoding: jobs write names in UTF-8.

    The name only changes if Python runs in a locale with another encoding.
    """
    return os.fsdecode(name.encode("utf-8", "surrogateescape"))
