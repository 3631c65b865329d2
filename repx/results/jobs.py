"""Jobs selected from a Lab: a sequence with filters and a table."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, overload

from repx import stale
from repx.model import StageType, stage_of
from repx.results import conditions, frame, marker, values
from repx.results.job import Job
from repx.results.marker import STATUSES, Marker
from repx.status import State

if TYPE_CHECKING:
    from repx import model
    from repx.model import JobId
    from repx.results.conditions import Condition
    from repx.results.lab import Lab

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Attribute:
    """An attribute for conditions: a job's values, and all values that exist."""

    of: Callable[[Job], Collection[object]]
    known: Callable[[model.Lab], Collection[object]]


_ATTRIBUTES: Final[Mapping[str, _Attribute]] = {
    "id": _Attribute(lambda job: (job.id,), lambda lab: lab.jobs.keys()),
    "name": _Attribute(lambda job: (job.name,), lambda lab: {j.name for j in lab.jobs.values()}),
    "stage": _Attribute(lambda job: (job.stage,), lambda lab: {*map(stage_of, lab.jobs)}),
    "stage_type": _Attribute(lambda job: (job.stage_type,), lambda _: set(StageType)),
    "run": _Attribute(lambda job: job.runs, lambda lab: lab.runs.keys()),
}

# These two come from the store, which is read once, for the jobs that pass all other tests.
_STATUS: Final = "status"
_DURATION: Final = "duration_s"


class Jobs(Sequence[Job]):
    """An immutable selection; indexing gives a Job, slicing and filtering give Jobs."""

    __slots__ = ("_lab", "ids")

    def __init__(self, lab: Lab, ids: Sequence[JobId]) -> None:
        """Select the jobs with these ids, in this order."""
        self._lab = lab
        self.ids: Final = tuple(ids)

    def __len__(self) -> int:
        """Return the number of jobs."""
        return len(self.ids)

    def __iter__(self) -> Iterator[Job]:
        """Return the jobs one by one."""
        return (Job(self._lab, job) for job in self.ids)

    @overload
    def __getitem__(self, index: int) -> Job: ...
    @overload
    def __getitem__(self, index: slice) -> Jobs: ...
    def __getitem__(self, index: int | slice) -> Job | Jobs:
        """Return one job by position, or a slice of them."""
        if isinstance(index, slice):
            return Jobs(self._lab, self.ids[index])
        return Job(self._lab, self.ids[index])

    def __repr__(self) -> str:
        """Show the number of jobs of each stage."""
        stages = Counter(job.stage for job in self)
        listed = ", ".join(f"{count} {stage}" for stage, count in stages.items())
        return f"<Jobs {listed or 'none'}>"

    def filter(
        self,
        predicate: Callable[[Job], bool] | None = None,
        /,
        *,
        where: Mapping[str, object] | None = None,
        **keywords: object,
    ) -> Jobs:
        """Return the jobs that pass all tests.

        A keyword is an attribute (id, name, stage, stage_type, run, status, duration_s) or an
        effective parameter; ``param_NAME=`` and ``where={"NAME": ...}`` always mean the
        parameter. An operator may follow the name: ``__ne __gt __ge __lt __le __in
        __startswith __endswith __contains``. A job without the parameter never passes.
        Raises InputError for an unknown name, stage, run, status or operator.
        """
        tests = conditions.parse(
            keywords,
            {} if where is None else where,
            attributes={*_ATTRIBUTES, _STATUS, _DURATION},
            parameters=lambda: self._lab.parameter_names,
        )
        for test in tests:
            self._check(test)
        if not tests and predicate is None:
            return self
        later = [t for t in tests if not t.is_parameter and t.name in (_STATUS, _DURATION)]
        chosen = self._passing([test for test in tests if test not in later])
        for test in later:
            known = _STORED[test.name](chosen)
            chosen = Jobs(self._lab, [job for job in chosen.ids if test.holds((known(job),))])
        if predicate is None:
            return chosen
        return Jobs(self._lab, [job.id for job in chosen if predicate(job)])

    def to_dataframe(self) -> Any:  # noqa: ANN401  # pandas has no types here
        """Return one row per job, indexed by ``job_id``: status, timings, effective parameters.

        A parameter with the name of another column becomes ``param_NAME``. Needs pandas.
        """
        return frame.of_jobs(self)

    def fetch(self, *names: str) -> Jobs:
        """Bring outputs of all these jobs from another machine at once; return the jobs.

        ``names`` are declared outputs; without one, everything in the folders of outputs comes.
        Where results are on this machine there is nothing to do.
        """
        self._lab.bring({job.id: job.places(names) for job in self})
        return self

    def outcomes(self) -> dict[JobId, State]:
        """Return the states of the jobs that succeeded, are stale or failed, by id."""
        found = marker.outcomes(self._lab.store, [job.definition for job in self])
        return found | dict.fromkeys(self.stale(found), State.STALE)

    def markers(self) -> dict[JobId, Marker]:
        """Return the markers of the jobs that have ended, by id."""
        return marker.read_all(self._lab.store, [job.definition for job in self])

    def stale(self, ended: Mapping[JobId, State]) -> dict[JobId, JobId]:
        """Return the stale jobs among ``ended``, each with an upstream job that ran again since."""
        done = [job for job, outcome in ended.items() if outcome is State.SUCCEEDED]
        return stale.culprits(self._lab.store, self._lab.model, done)

    def _passing(self, tests: Sequence[Condition]) -> Jobs:
        """Return the jobs that pass tests that need only the Lab."""
        passing = [job.id for job in self if all(t.holds(self._values(job, t)) for t in tests)]
        if self and not passing:
            self._warn_of_absent(tests)
        return Jobs(self._lab, passing)

    def _check(self, test: Condition) -> None:
        """Raise InputError for an unknown name; warn of a value that cannot match."""
        if test.is_parameter:
            if doubt := conditions.doubt(test, self._lab.kinds(test.name)):
                log.warning("%s", doubt)
        elif test.name == _STATUS:
            conditions.check_known(test, STATUSES)
        elif test.name in _ATTRIBUTES:
            conditions.check_known(test, _ATTRIBUTES[test.name].known(self._lab.model))

    def _warn_of_absent(self, tests: Sequence[Condition]) -> None:
        """Warn of a tested parameter that no job of the selection has."""
        about_jobs = [test for test in tests if not test.is_parameter]
        meant = [job for job in self if all(t.holds(self._values(job, t)) for t in about_jobs)]
        for test in tests:
            if test.is_parameter and not any(self._values(job, test) for job in meant):
                log.warning("none of these jobs has the parameter '%s'", test.name)

    def _values(self, job: Job, test: Condition) -> Collection[object]:
        if not test.is_parameter:
            return _ATTRIBUTES[test.name].of(job)
        return values.found(self._lab.effective_params[job.id], test.name)


def _status(jobs: Jobs) -> Callable[[JobId], object]:
    found = jobs.outcomes()
    return lambda job: found.get(job, State.PENDING)


def _duration(jobs: Jobs) -> Callable[[JobId], object]:
    found = {job: ended.duration_s for job, ended in jobs.markers().items()}
    return found.get


_STORED: Final = {_STATUS: _status, _DURATION: _duration}
