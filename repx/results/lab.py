"""A Lab together with the store of its results: the start of an analysis."""

from __future__ import annotations

import os
import shlex
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from repx import graph, launch, select
from repx import store as stores
from repx.config.xdg import current_folder
from repx.errors import LabError, RepxError
from repx.results import values
from repx.results.effective import effective
from repx.results.job import Job
from repx.results.jobs import Jobs
from repx.results.remote import Remote

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from repx import model
    from repx.model import DependencyType, JobId, RunName
    from repx.store import Store


@dataclass(frozen=True, slots=True)
class Run:
    """A named set of jobs."""

    lab: Lab = field(repr=False)
    name: RunName

    def jobs(self, *args: Any, **conditions: Any) -> Jobs:  # noqa: ANN401  # as Jobs.filter
        """Return the run's jobs, filtered as by ``Jobs.filter``."""
        return self.lab.select(self.lab.model.runs[self.name].jobs).filter(*args, **conditions)

    @property
    def dependencies(self) -> Mapping[RunName, DependencyType]:
        """Return the runs that this run depends on, each ``hard`` or ``soft``."""
        return self.lab.model.runs[self.name].dependencies


class Lab:
    """Jobs, runs and groups of a Lab, and their results in one store."""

    def __init__(
        self, definition: model.Lab, *, path: Path, store: Path | Store, target: str | None = None
    ) -> None:
        """Join a Lab that was read with the store (``base_path``) of its results.

        ``target`` is the target's name if the user named it.
        """
        self._target = target
        self.model: Final = definition
        self.path: Final = path
        self.store: Final = stores.local(str(store)) if isinstance(store, Path) else store
        self.remote: Final = Remote(self.store) if self.store.place.name else None
        self.kept: Final = self.remote.kept if self.remote else self.store
        self._kinds: dict[str, frozenset[str]] = {}

    @classmethod
    def from_path(
        cls,
        path: str | Path = "result",
        *,
        store: str | Path | None = None,
        target: str | None = None,
    ) -> Self:
        """Open a Lab, a folder or a tar.

        ``store`` is the folder that holds ``outputs``; the default is the store of ``target``, or
        of the target that ``repx run`` would choose here. Files of a target on another machine
        are copied here on demand. Raises LabError for a path that is no Lab, InputError for an
        unknown target.
        """
        from repx.lab.load import open_lab

        here = current_folder()
        with _hints_for_python():
            place = here / Path(store).expanduser() if store is not None else _store_of(target)
            opened = open_lab(Path(path).expanduser())
        return cls(opened.lab, path=opened.root, store=place, target=target)

    def __repr__(self) -> str:
        """Show the paths of the Lab and the store."""
        return f"<Lab {self.path} with {len(self.model.jobs)} jobs, store {self.store.root}>"

    def __eq__(self, other: object) -> bool:
        """Return whether both have the same path, the same store and the same Lab id."""
        return isinstance(other, Lab) and self._identity == other._identity

    def __hash__(self) -> int:
        """Hash the fields that equality compares."""
        return hash(self._identity)

    def __reduce__(self) -> tuple[Callable[..., Lab], tuple[object, ...]]:
        """Pickle the Lab as its path, so that a pickled Job is small."""
        return _reopen, self._identity

    def __deepcopy__(self, memo: object) -> Self:
        """Return the same Lab, since a Lab does not change."""
        return self

    def jobs(self, *args: Any, **conditions: Any) -> Jobs:  # noqa: ANN401  # as Jobs.filter
        """Return the Lab's jobs, filtered as by ``Jobs.filter``."""
        return Jobs(self, tuple(self.model.jobs)).filter(*args, **conditions)

    def job(self, word: str) -> Job:
        """Return a job by its id, by a unique prefix of its id, or as a run's only final job.

        Raises InputError when no job or several jobs match.
        """
        return Job(self, select.one_job(self.model, word))

    def runs(self) -> dict[RunName, Run]:
        """Return the Lab's runs by name, producers first."""
        return {name: Run(self, name) for name in self.model.runs}

    def groups(self) -> dict[str, tuple[RunName, ...]]:
        """Return the names of the runs in each group."""
        return dict(self.model.groups)

    def graph(self) -> Any:  # noqa: ANN401  # networkx has no types here
        """Return a ``networkx.DiGraph`` of job ids, with edges from a job to the jobs that read it.

        Each job has the attributes ``name``, ``stage``, ``runs``, ``status`` (succeeded, stale,
        failed or pending, as the store says now) and ``params``, the effective ones.
        """
        from repx.results import network

        return network.of_lab(self)

    def select(self, ids: Iterable[JobId]) -> Jobs:
        """Return the jobs with these ids."""
        return Jobs(self, tuple(ids))

    def reachable(self, start: JobId, edges: Mapping[JobId, Collection[JobId]]) -> Jobs:
        """Return the jobs that edges reach from a job, without that job, in the Lab's order."""
        found = graph.closure(edges, [start]) - {start}
        return self.select(sorted(found, key=self.position.__getitem__))

    def metadata_of(self, run: RunName) -> Path:
        """Return the path of a run's metadata in the store (docs/architecture.md, Store)."""
        key = f"artifacts/{launch.metadata_name(self.model, run)}"
        return self.remote.file(key) if self.remote else Path(self.store.path(key))

    def bring(self, wanted: Mapping[JobId, Collection[str]]) -> None:
        """Copy files below jobs' folders here if the store is on another machine."""
        if self.remote is not None:
            self.remote.bring(wanted)

    def command(self, verb: str, job: JobId) -> str:
        """Return a command line, ready to paste, that applies ``verb`` to a job of this Lab."""
        usual = os.path.realpath("result") == os.path.realpath(self.path)
        words = [] if usual else ["-l", str(self.path)]
        words += ["--target", self._target] if self._target else []
        return f"repx {shlex.join([*verb.split(), *words, job.partition('-')[0][:12]])}"

    def is_copy(self) -> bool:
        """Return whether ``repx run``, started here, would write to another store."""
        if self.remote is not None:
            return False
        try:
            usual = _store_of(self._target)
        except RepxError:
            return True
        return usual.place.name != "" or usual.root != self.store.root

    @cached_property
    def effective_params(self) -> Mapping[JobId, Mapping[str, Any]]:
        """Return every job's parameters with those of its upstream jobs; the nearest job wins."""
        params = {job.id: job.shown for job in self.model.jobs.values()}
        return effective(params, self.model.needs.__getitem__)

    @cached_property
    def dependents(self) -> Mapping[JobId, list[JobId]]:
        """Return the jobs that read each job's outputs."""
        return graph.dependents(self.model.needs)

    @cached_property
    def parameter_names(self) -> frozenset[str]:
        """Return the names of all parameters of all jobs, with dotted names of nested ones."""
        own = [job.shown for job in self.model.jobs.values()]
        nested = (name for params in own for name, _ in values.flatten(params))
        return frozenset(name for params in own for name in params).union(nested)

    def kinds(self, parameter: str) -> frozenset[str]:
        """Return the kinds of values (text, a number, ...) that jobs have for a parameter."""
        if parameter not in self._kinds:
            own = (values.found(job.shown, parameter) for job in self.model.jobs.values())
            self._kinds[parameter] = frozenset(values.kind(value) for each in own for value in each)
        return self._kinds[parameter]

    @cached_property
    def runs_of(self) -> Mapping[JobId, tuple[RunName, ...]]:
        """Return the runs of each job."""
        return self.model.runs_of_jobs()

    @cached_property
    def position(self) -> Mapping[JobId, int]:
        """Return the position of each job in the Lab."""
        return {job: position for position, job in enumerate(self.model.jobs)}

    @property
    def _identity(self) -> tuple[object, ...]:
        named = (self._target or self._usual()) if self.remote else None
        return self.path, self.store.root, self.model.id, named

    def _usual(self) -> str:
        """Return the name of the default target."""
        from repx.config import targets

        env = os.environ  # noqa: TID251  # as above
        return targets.usual(targets.load(None, cwd=current_folder(), env=env))


@cache
def _reopen(path: Path, store: str, lab_id: str, target: str | None) -> Lab:
    """Open a pickled Lab again, once per process; ``target`` is that of one on another machine."""
    lab = (
        Lab.from_path(path, target=target)
        if target is not None
        else Lab.from_path(path, store=store)
    )
    if lab.model.id != lab_id:
        raise LabError(
            f"{path} holds another Lab ({lab.model.id}) than the pickle was made of ({lab_id})",
            hint="open the new Lab and select the jobs again",
        )
    return lab


# Phrases of hints for the command line, and their equivalents in Python.
_SPELLINGS: Final = (
    ("name one with `--lab PATH`", 'give its path: Lab.from_path("PATH")'),
    ("`--target NAME`", '`Lab.from_path(..., target="NAME")`'),
    (" or name it with `--targets FILE`", ""),
)


@contextmanager
def _hints_for_python() -> Iterator[None]:
    """Reword the hints of errors for Python."""
    try:
        yield
    except RepxError as error:
        for words, code in _SPELLINGS:
            if error.hint and words in error.hint:
                raise type(error)(error.message, hint=error.hint.replace(words, code)) from error
        raise


def _store_of(name: str | None) -> Store:
    """Return the store of a target of targets.yaml, chosen as on the command line."""
    from repx.config import targets

    env = os.environ  # noqa: TID251  # a script or notebook has no command line to read it
    here = current_folder()
    target = targets.choose(targets.load(None, cwd=here, env=env), name)
    if target.address is not None:
        return stores.of(target)
    return stores.local(str(here / target.base_path))
