"""Jobs selected from a Lab: a sequence that can be narrowed down and turned into a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, overload

from repx.model import StageType, stage_of
from repx.results import conditions, frame
from repx.results.job import Job
from repx.results.marker import STATUSES

if TYPE_CHECKING:
    from repx import model
    from repx.model import JobId
    from repx.results.lab import Lab


@dataclass(frozen=True, slots=True)
class _Attribute:
    """What a condition may test: the values that count for a job, and all there can be."""

    of: Callable[[Job], Collection[object]]
    known: Callable[[model.Lab], Collection[object]] | None = None


_ATTRIBUTES: Final[Mapping[str, _Attribute]] = {
    "id": _Attribute(lambda job: (job.id,), lambda lab: lab.jobs.keys()),
    "name": _Attribute(lambda job: (job.name,), lambda lab: {j.name for j in lab.jobs.values()}),
    "stage": _Attribute(lambda job: (job.stage,), lambda lab: {*map(stage_of, lab.jobs)}),
    "stage_type": _Attribute(lambda job: (job.stage_type,), lambda _: set(StageType)),
    "run": _Attribute(lambda job: job.runs, lambda lab: lab.runs.keys()),
    "status": _Attribute(lambda job: (job.status,), lambda _: STATUSES),
    "duration_s": _Attribute(lambda job: (job.duration_s,)),
}


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
        """Show how many jobs of which stages there are."""
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
        """Return the jobs that pass everything asked.

        A keyword is an attribute (id, name, stage, stage_type, run, status, duration_s) or an
        effective parameter; ``param_NAME=`` and ``where={"NAME": ...}`` always mean the
        parameter. An operator may follow the name: ``__ne __gt __ge __lt __le __in
        __startswith __endswith __contains``. A job without the parameter never passes.
        Raises InputError for a name, a stage, a run, a status or an operator that is unknown.
        """
        tests = conditions.parse(
            keywords,
            where or {},
            attributes=_ATTRIBUTES.keys(),
            parameters=lambda: self._lab.parameter_names,
        )
        for test in tests:
            known = None if test.is_parameter else _ATTRIBUTES[test.name].known
            if known is not None:
                conditions.check_known(test, known(self._lab.model))
        if not tests and predicate is None:
            return self
        # Parameters first: they are in memory, a status is not.
        tests = tuple(sorted(tests, key=lambda test: not test.is_parameter))
        return Jobs(
            self._lab,
            [
                job.id
                for job in self
                if all(test.holds(self._values(job, test)) for test in tests)
                and (predicate is None or predicate(job))
            ],
        )

    def to_dataframe(self) -> Any:  # noqa: ANN401  # pandas has no types here
        """Return one row per job, indexed by ``job_id``: status, timings, effective parameters.

        A parameter named as another column is called ``param_NAME`` there. Needs pandas.
        """
        return frame.of_jobs(self)

    def _values(self, job: Job, test: conditions.Condition) -> Collection[object]:
        if not test.is_parameter:
            return _ATTRIBUTES[test.name].of(job)
        params = self._lab.effective_params[job.id]
        return (params[test.name],) if test.name in params else ()
