"""All steps of a run up to its start: observe, plan, transfer, write the submission folder."""

from __future__ import annotations

import hashlib
import logging
import time
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Final

from repx import launch, observe, plan, schedulers, stale, submissions
from repx import store as stores
from repx.errors import SchedulerError
from repx.places import Question
from repx.schedulers.contract import Folder
from repx.status import JobState, State
from repx.target import RootName

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from repx.lab.images import Image
    from repx.lab.load import OpenLab
    from repx.model import JobId, Lab
    from repx.places import Process
    from repx.places.command import Completed
    from repx.plan import Explain, Plan, ResourcesOf, Wish
    from repx.runtimes.rooms import Room
    from repx.schedulers.contract import Limits, Scheduler
    from repx.store import Store
    from repx.target import Target
    from repx.transfer import Sent


log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A submission that was written to a store: its id, its folder, and the bytes sent."""

    id: str
    folder: str
    plan: Plan
    sent: Sent


def prepare(
    lab: Lab,
    wish: Wish,
    store: Store,
    target: Target,
    resources: ResourcesOf,
    explain: Explain = lambda _: {},
    elsewhere: Explain = lambda _: {},
) -> Plan:
    """Return the plan for a wish and the current store; ``explain`` is the same as in the plan.

    ``elsewhere`` returns those jobs to run whose results can be fetched instead, with reasons.
    """
    states = observe.states(lab, store)

    def planned(wish: Wish, states: Mapping[JobId, JobState]) -> Plan:
        return plan.make(
            lab,
            wish,
            states,
            resources=resources,
            runtimes=target.isolating,
            isolated=target.rootfs is RootName.HOST,
            retries=target.retries,
            explain=explain,
        )

    made = planned(wish, states)
    found = elsewhere(plan.fetchable(made)) if made.tasks else {}
    named = replace(wish, jobs=plan.meant_by(lab, wish, states), only_failed=False)
    while found:
        fewer = planned(named, {**states, **dict.fromkeys(found, _SUCCEEDED)})
        again = {task.job.id for task in fewer.tasks}
        if again.isdisjoint(found):
            return _with_fetched(fewer, found)
        # A job downstream of a job that runs must use the new results, so it also runs.
        found = {job: why for job, why in found.items() if job not in again}
    return made


def _with_fetched(made: Plan, found: Mapping[JobId, str]) -> Plan:
    """Return the plan with ``found`` moved from done to fetched."""
    fetched = {job: found[job] for job in made.done if job in found}
    return replace(
        made, done=tuple(job for job in made.done if job not in fetched), fetched=fetched
    )


_SUCCEEDED: Final = JobState(state=State.SUCCEEDED)


def submit(opened: OpenLab, plan: Plan, store: Store, target: Target) -> Submission:
    """Write the plan's submission folder and the files that its jobs need to the store.

    Starts nothing. Raises StorageError when the store cannot be written, SchedulerError when jobs
    wait for jobs that the target's scheduler cannot wait for.
    """
    submission = new_id(plan)
    folder = f"{submissions.FOLDER}/{submission}"
    sent = _write(opened, plan, target, store, (store, folder), submission)
    return Submission(id=submission, folder=store.path(folder), plan=plan, sent=sent)


def render_to(
    folder: Path, opened: OpenLab, plan: Plan, store: Store, target: Target
) -> Submission:
    """Write the submission folder to a folder of the user's; artifacts go to the store."""
    submission = new_id(plan)
    place = stores.local(str(folder.parent))
    sent = _write(opened, plan, target, store, (place, folder.name), submission)
    return Submission(id=submission, folder=str(folder), plan=plan, sent=sent)


def _write(
    opened: OpenLab,
    plan: Plan,
    target: Target,
    store: Store,
    place: tuple[Store, str],
    submission: str,
) -> Sent:
    # Imported here, since jinja2 takes 70 ms and commands that only read do not need it.
    from repx import images, isolation, render, transfer

    target = store.place.settled(target)
    scheduler = schedulers.of(target)
    scheduler.check(plan)
    if scheduler.attended:
        _ = store.place.python  # raise the error for a missing Python before anything is sent
    key_of = transfer.places(opened.lab, opened.files)
    named = {opened.lab.image_of(task.job, task.run) for task in plan.tasks}
    made, used = rooms_of(opened, named, target)
    sent = transfer.send(opened.lab, opened.files, plan, store, key_of, with_runner=True)
    sent += images.send(used, store)
    common = render.submission(
        plan,
        opened.lab,
        target,
        submission_id=submission,
        artifact=lambda path: store.path(key_of(path)),
        rooms=made,
    )
    asked = Folder(submission=submission, site=_site(store, scheduler, target))
    files = chain(
        common, isolation.files(made.values()), scheduler.files(plan, opened.lab, target, asked)
    )
    where, folder = place
    stale.note(store, opened.lab, plan, submission)
    rendered = ((file.path, file.mode, file.text.encode()) for file in files)
    log = [("agent.log", 0o644, b"")] if scheduler.attended and where is store else []
    where.write_new(folder, chain(rendered, log))  # gives the log the mode of `share:`
    return sent


def rooms_of(
    opened: OpenLab, named: Collection[str | None], target: Target
) -> tuple[dict[str | None, Room], Collection[Image]]:
    """Return the rooms for isolated jobs, by the path of their image, and the images used.

    Raises LabError for a broken image.
    """
    from repx.images import unpack
    from repx.lab import images
    from repx.runtimes import rooms

    tools = launch.tools(opened.lab)
    on_host = target.rootfs is RootName.HOST
    wanted = () if on_host and not _needs_nix(opened) else named
    found = {path: images.read(opened.files, path, unpack) for path in wanted if path is not None}
    made: dict[str | None, Room]
    if on_host:
        hide = (str(opened.root.parent),)
        made = {
            path: rooms.make(target, None, tools=tools, hide=hide, packages=found.get(path or ""))
            for path in named
        }
    else:
        made = {path: rooms.make(target, image, tools=tools) for path, image in found.items()}
    return made, found.values()


def _needs_nix(opened: OpenLab) -> bool:
    """Return whether the Lab's programs have an interpreter in /nix/store, from its images."""
    job = next(iter(opened.lab.jobs.values()), None)
    if job is None:
        return False
    with opened.files.open(job.final.path) as stream:
        return stream.read(len(_NIX)) == _NIX


_NIX: Final = b"#!/nix/store/"


def _site(store: Store, scheduler: Scheduler, target: Target) -> Completed | None:
    """Return the target's answer to the scheduler's question, None if there is no question."""
    words = scheduler.ask_site(target)
    if words is None:
        return None
    return store.place.ask([Question(words, lambda said: said)])[0]


_SUBMIT_S: Final = 4 * 3600
OUTDATED: Final = 76  # exit code of a script whose jobs were already in the queue


def start(store: Store, target: Target, submission: str, limits: Limits) -> Process | None:
    """Start a submission; return the process that runs until its jobs end, if there is one.

    Raises SchedulerError with the message of a batch system that refused the jobs, and
    OutdatedPlanError when another submission took some of the jobs after the plan was made.
    """
    scheduler = schedulers.of(target)
    key = f"{submissions.FOLDER}/{submission}"
    folder = store.path(key)
    words = scheduler.start(folder, limits)
    if scheduler.attended:
        ours = {"REPX_PYTHON": store.place.python}  # python3 may be too old
        return store.place.spawn(words, output=f"{folder}/agent.log", cwd=folder, more_env=ours)
    answer = store.place.run(words, timeout_s=_SUBMIT_S, check=False)
    if answer.code != 0:
        message, _, hint = answer.stderr.strip().partition("\n\nhint: ")
        if answer.code == OUTDATED:
            store.remove(key)
            raise OutdatedPlanError(message, hint=hint or None)
        said = message or f"{scheduler.script} ended with {answer.code}"
        raise SchedulerError(said, hint=hint or None)
    return None


class OutdatedPlanError(SchedulerError):
    """Another submission took some of the jobs after the plan was made."""


def new_id(plan: Plan) -> str:
    """Return a new submission id: the time (UTC), so that ids of all users sort by time.

    Of the last six digits, four are the fraction of the second, two are a hash of the plan.
    """
    now = time.time_ns()
    seconds, rest = divmod(now, 10**9)
    digest = hashlib.sha256(f"{now} {[task.job.id for task in plan.tasks]}".encode()).hexdigest()
    fraction = (rest << 16) // 10**9
    return f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime(seconds))}-{fraction:04x}{digest[:2]}"
