"""Slurm as a scheduler among others: its verbs, made of this room's parts."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

from repx import submissions
from repx.errors import BusyError, OutOfReachError
from repx.places import Question
from repx.schedulers.contract import Answer, Folder, Limits, Order, Submitted, Words
from repx.schedulers.slurm import answers, cancelling, ended, folder, queue
from repx.schedulers.slurm.answers import QueueAnswer
from repx.schedulers.slurm.folder import CONTINUE, Known
from repx.status import Batch
from repx.target import SchedulerName

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from repx.model import JobId, Lab
    from repx.plan import Plan
    from repx.render import RenderedFile
    from repx.schedulers import contract
    from repx.status import JobState
    from repx.store import Store
    from repx.target import Resources, Target

_TOOLS: Final[Mapping[str, str]] = {
    "sbatch": "sbatch --version",
    "squeue": "squeue --version",
    "scancel": "scancel --version",
    "scontrol": "scontrol --version && scontrol ping",
}
_IDS_PER_CALL: Final = 2000
_ASK_S: Final = 9.0  # whoever looks is told within ten seconds that the controller is away


@dataclass(frozen=True, slots=True)
class Slurm:
    """Jobs wait and run in Slurm; nothing of repx runs meanwhile."""

    name: str = SchedulerName.SLURM.value
    script: str = "submit.sh"
    attended: bool = False

    @property
    def tools(self) -> Mapping[str, str]:
        """Return what submitting, asking and cancelling need."""
        return _TOOLS

    def ask_site(self, target: Target) -> Words | None:
        """Return the question for MaxArraySize, unless the target says it."""
        return None if target.slurm.max_array_size else queue.CONFIG

    def files(self, plan: Plan, lab: Lab, target: Target, folder: Folder) -> Iterator[RenderedFile]:
        """Yield ``submit.sh`` and one script per call of sbatch."""
        from repx.schedulers.slurm import scripts  # and jinja2 with it

        site = folder.site
        size = queue.parse_max_array_size(site.stdout) if site and site.code == 0 else None
        return scripts.files(
            plan,
            lab,
            target,
            submission_id=folder.submission,
            max_array_size=size or scripts.DEFAULT_MAX_ARRAY_SIZE,
        )

    def check(self, plan: Plan) -> None:
        """Raise OutOfReachError when a job waits for one not in Slurm, InputError for options."""
        from repx.schedulers.slurm import directives

        directives.check(plan.tasks)
        waited = {job for task in plan.tasks for job in task.needs}
        waited.update(job for gate in plan.gates for job in gate.jobs)
        for job, by in plan.alive.items():
            if job in waited and not (isinstance(by, Batch) and by.system == self.name):
                raise OutOfReachError(job, str(by or ""), "Slurm")

    def start(self, folder: str, limits: Limits) -> Words:
        """Return the call of ``submit.sh``, which has no options."""
        del limits
        return ("bash", f"{folder}/{self.script}")

    def submitted(self, store: Store, submission: str) -> Submitted:
        """Return the ids of all calls of sbatch."""
        ids = folder.read(store, submission).ids
        return Submitted(
            ids=tuple(sorted((id_ for name, id_ in ids.items() if name != CONTINUE), key=int)),
            calls="sbatch call",
            continued_by=ids.get(CONTINUE),
        )

    def known(self, store: Store, submission: str) -> Known | None:
        """Return the tables of a submission that nobody has seen end."""
        return folder.read(store, submission) if folder.is_open(store, submission) else None

    def questions(self, known: Sequence[contract.Known]) -> Sequence[Question[Answer]]:
        """Return one squeue about everything, for each cluster."""
        by_cluster: dict[str, list[Known]] = defaultdict(list)
        for each in cast("Sequence[Known]", known):
            by_cluster[each.cluster].append(each)
        return tuple(_question(cluster, ours) for cluster, ours in by_cluster.items())

    def foreseen(self, store: Store) -> Sequence[Question[Answer]]:
        """Return the question about the user's jobs on the usual cluster."""
        if store.dialect:
            return ()
        words = queue.squeue_argv([store.place.user])
        return (Question(words, lambda said: answers.read((), said), timeout_s=_ASK_S),)

    def joined(self, told: Sequence[Answer]) -> Answer:
        """Return the answers of all clusters as one."""
        return answers.joined(cast("Sequence[QueueAnswer]", told))

    def told(
        self, store: Store, known: Sequence[contract.Known], answer: Answer
    ) -> Mapping[JobId, JobState]:
        """Return the states with what logs, bundles and accounting tell beside the queue."""
        return ended.told(store, cast("Sequence[Known]", known), answer)

    def ended(self, store: Store, submission: str) -> str | None:
        """Return what was written down when nothing of a submission was alive any more."""
        return ended.record(store, submission)

    def remembered(self, store: Store) -> Mapping[JobId, JobState]:
        """Return how jobs ended that left no marker, as it was seen then."""
        return ended.remembered(store)

    def cancel(
        self,
        store: Store,
        known: Sequence[contract.Known],
        answer: Answer,
        jobs: Collection[JobId] | None,
    ) -> Iterator[Order]:
        """Yield one scancel per cluster, and a signal for each bundle that goes on with others.

        Only what the queue knows as ours is cancelled: an id may belong to another job by now.
        Raises BusyError when Slurm does not answer.
        """
        del store
        ours = cast("Sequence[Known]", known)
        if not isinstance(answer, QueueAnswer) or not answer.answered:
            raise BusyError("Slurm does not answer; nothing was cancelled")
        wanted = None if jobs is None else frozenset(jobs)
        ids: dict[str, dict[str, int]] = defaultdict(dict)
        for each in ours:
            entries = answer.entries.get(each.submission, {})
            ids[each.cluster] |= cancelling.ids(each, entries, wanted)
        for cluster, counted in ids.items():
            names = sorted(counted)
            for start in range(0, len(names), _IDS_PER_CALL):
                some = names[start : start + _IDS_PER_CALL]
                jobs_ended = sum(counted[name] for name in some)
                yield Order(send=queue.scancel_argv(some, cluster), jobs=jobs_ended)
        for each in ours if wanted is not None else ():
            entries = answer.entries.get(each.submission, {})
            yield from cancelling.within_bundles(each, entries, wanted or frozenset())

    def logs(self, store: Store, job: JobId) -> list[str]:
        """Return what Slurm and the scripts had to say of a job: paths there, newest last."""
        found = []
        for submission in submissions.ids(store):
            where = f"{submissions.FOLDER}/{submission}/logs"
            known = folder.read(store, submission)
            stems, children = known.log_stems(job), known.children.get(job, ())
            for name in store.names(where):
                stem = name.removesuffix(".out")
                if stem in stems or stem.partition("_")[0] in children:
                    found.append(store.path(f"{where}/{name}"))
        return found

    def asked(self, target: Target, resources: Resources) -> list[str]:
        """Return the options of sbatch for one job."""
        from repx.schedulers.slurm import directives

        return [directives.line(each) for each in directives.of_resources(target, resources)]

    def prologue(self, target: Target) -> Iterable[str]:
        """Return the lines of the target's ``prologue:`` and ``modules:``."""
        from repx.schedulers.slurm import scripts

        return scripts.prologue(target)


def _question(cluster: str, known: Sequence[Known]) -> Question[Answer]:
    words = queue.squeue_argv({each.user for each in known}, cluster)
    return Question(words, lambda said: answers.read(known, said), timeout_s=_ASK_S)
