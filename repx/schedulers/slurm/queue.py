"""What Slurm says of its queue: the questions as argv, the answers as entries. Pure."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from repx.schedulers.numbers import number
from repx.status import ALIVE, State

log = logging.getLogger(__name__)

# squeue(1), "JOB STATE CODES": what each means for a job that has left no marker.
STATES: Final = {
    "PENDING": State.QUEUED,
    "CONFIGURING": State.QUEUED,
    "REQUEUED": State.QUEUED,
    "REQUEUE_FED": State.QUEUED,
    "REQUEUE_HOLD": State.QUEUED,
    "RESV_DEL_HOLD": State.QUEUED,
    "SPECIAL_EXIT": State.QUEUED,
    "COMPLETING": State.RUNNING,
    "RESIZING": State.RUNNING,
    "RUNNING": State.RUNNING,
    "SIGNALING": State.RUNNING,
    "STAGE_OUT": State.RUNNING,
    "STOPPED": State.RUNNING,
    "SUSPENDED": State.RUNNING,
    "CANCELLED": State.FAILED,
    "DEADLINE": State.FAILED,
    "FAILED": State.FAILED,
    "OUT_OF_MEMORY": State.FAILED,
    "TIMEOUT": State.FAILED,
    "BOOT_FAIL": State.LOST,
    "CANCELLED by Slurm": State.LOST,
    "COMPLETED": State.LOST,
    "NODE_FAIL": State.LOST,
    "PREEMPTED": State.LOST,
    "REVOKED": State.LOST,
}
REASONS: Final = {
    "CANCELLED": "cancelled",
    "DEADLINE": "deadline missed",
    "FAILED": "ended without a marker",
    "OUT_OF_MEMORY": "out of memory",
    "TIMEOUT": "timeout",
    "BOOT_FAIL": "node failure",
    "CANCELLED by Slurm": "cancelled by Slurm itself",
    "COMPLETED": "ended without a marker",
    "NODE_FAIL": "node failure",
    "PREEMPTED": "preempted",
    "REVOKED": "moved to another cluster",
}
# Slurm's reasons of jobs that do not start by themselves, in the words of who has to act.
_STUCK: Final = {
    "BadConstraints": "no node has what it asks for",
    "JobHeldAdmin": "an administrator holds it",
    "JobHeldUser": "held; `scontrol release` lets it start",
    "JobHoldMaxRequeue": "held: it was requeued too often; `scontrol release` lets it start",
    "PartitionNodeLimit": "it asks for more nodes than its partition allows",
    "PartitionTimeLimit": "it asks for more time than its partition allows",
    "ReservationDeleted": "its reservation is over",
    "launch failed requeued held": "its node could not start it; `scontrol release` tries again",
}
# Why a job is cancelled that would wait for ever (--kill-on-invalid-dep).
_SKIPPED: Final = "DependencyNeverSatisfied"

_FORMAT: Final = "%F|%K|%T|%M|%N|%r|%k"
_RANGE: Final = re.compile(r"([0-9]+)(?:-([0-9]+)(?::([0-9]+))?)?")
_LARGEST_INDEX: Final = 4_000_000  # slurm.conf(5), MaxArraySize
_UNKNOWN_ID: Final = "Invalid job id specified"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One Slurm job or array element: Slurm's word for its state, and what that means here.

    ``elapsed_s`` is how long it has run, in seconds; ``reason`` is empty when there is none.
    """

    word: str
    state: State
    reason: str = ""
    elapsed_s: int = 0
    node: str = ""
    comment: str = ""

    @property
    def queued(self) -> bool:
        """Return whether Slurm still has it; what waits for ever, too, until it is cancelled."""
        return self.state in ALIVE or self.word == "PENDING"


# Array or job id, and index within the array or None.
Key = tuple[str, int | None]


_OWN_WORDS: Final = """\
for name in "${!SBATCH_@}" "${!SQUEUE_@}" "${!SCANCEL_@}" "${!SCONTROL_@}" "${!SACCT_@}" \\
  "${!SLURM_@}"; do
  case $name in SLURM_CONF*|SLURM_JWT) ;; *) unset "$name" ;; esac
done
export SLURM_BITSTR_LEN=0
exec "${@//%ME/$(id -un)}"
"""


def ours(*words: str) -> tuple[str, ...]:
    """Return a command of Slurm's that the user's own settings for it cannot change.

    ``%ME`` in a word is the user's name there. Pending elements of an array come as one line with
    their indices, which must not be cut short (squeue(1), SLURM_BITSTR_LEN).
    """
    return ("bash", "-c", _OWN_WORDS, "repx", *words)


CONFIG: Final = ours("scontrol", "show", "config")
WHO: Final = ours("id", "-un")


def squeue_argv(users: Iterable[str], cluster: str = "") -> tuple[str, ...]:
    """Return the one question about all jobs of some users, ended ones included.

    By user, so that the question stays short with thousands of ids, and finds jobs whose id was
    never written down.
    """
    names = ",".join(sorted({user or "%ME" for user in users}))
    return ours(
        *("squeue", *_where(cluster), "--noheader", "--all", "--states=all"),
        *(f"--format={_FORMAT}", f"--user={names}"),
    )


def scancel_argv(ids: Iterable[str], cluster: str = "", *options: str) -> tuple[str, ...]:
    """Return one call that cancels all of them, or does to them what the options say."""
    return ours("scancel", *_where(cluster), *options, *ids)


def _where(cluster: str) -> tuple[str, ...]:
    return (f"--clusters={cluster}",) if cluster else ()


def parse_squeue(code: int, stdout: str, stderr: str) -> dict[Key, Entry] | None:
    """Return the entries, or None when Slurm did not answer.

    squeue exits 1 when it knows none of the ids (22.05), which is an answer.
    """
    if code != 0:
        return {} if _UNKNOWN_ID in stderr else None
    found: dict[Key, Entry] = {}
    for line in stdout.splitlines():
        fields = line.split("|", 5)
        if len(fields) < 6:  # noqa: PLR2004  # `CLUSTER: name`, or a banner
            continue
        array, indices, word, elapsed, node, rest = fields
        reason, _, comment = rest.rpartition("|")
        entry = replace(_entry(word, reason, seconds(elapsed), node), comment=comment)
        for index in expand(indices):
            found[array, index] = entry
    return found


def sacct_argv(ids: Iterable[str], since: str, cluster: str = "") -> tuple[str, ...]:
    """Return the question about jobs the queue has forgotten; ``since`` is ``YYYY-MM-DD``.

    Without a start sacct looks at today only.
    """
    fields = "--format=JobID,State,Elapsed,NodeList"
    return ours(
        *("sacct", "--noheader", "--parsable2", "--allocations", fields, *_where(cluster)),
        *(f"--starttime={since}", f"--jobs={','.join(ids)}"),
    )


def parse_sacct(code: int, stdout: str) -> dict[Key, Entry]:
    """Return the entries; none where accounting does not work."""
    found: dict[Key, Entry] = {}
    for line in stdout.splitlines() if code == 0 else ():
        job, _, rest = line.partition("|")
        state, elapsed, node = (*rest.split("|"), "", "", "")[:3]
        array, _, index = job.partition("_")
        if array.isdigit() and "." not in index:  # `.batch` and other steps
            # `CANCELLED by 1000`; without a user it was Slurm, of what waited for a failed job.
            word = f"{state} by Slurm" if state == "CANCELLED" else state.partition(" ")[0]
            for each in expand(index.strip("[]") or "N/A"):
                found[array, each] = _entry(word, "", seconds(elapsed), node)
    return found


def parse_max_array_size(config: str) -> int | None:
    """Return MaxArraySize from ``scontrol show config``; indices are smaller than it."""
    match = re.search(r"^MaxArraySize\s*=\s*([0-9]+)", config, re.MULTILINE)
    return (number(match[1]) or None) if match else None


def parse_cluster(config: str) -> str:
    """Return ClusterName from ``scontrol show config``; empty where it does not say."""
    match = re.search(r"^ClusterName\s*=\s*(\S+)", config, re.MULTILINE)
    return match[1] if match else ""


def hides_jobs(config: str) -> bool:
    """Return whether users see no jobs but their own: PrivateData in ``scontrol show config``."""
    match = re.search(r"^PrivateData\s*=\s*(\S+)", config, re.MULTILINE)
    return match is not None and "jobs" in match[1].split(",")


def expand(indices: str) -> Iterator[int | None]:
    """Yield array indices as Slurm writes them: ``3``, ``0-9,12%4``; None where it is no array."""
    ranges = indices.partition("%")[0]
    if not ranges or not ranges[0].isdigit():
        yield None
        return
    for match in _RANGE.finditer(ranges):
        first, last, step = number(match[1]), number(match[2] or match[1]), number(match[3] or "1")
        if first is not None and last is not None and last <= _LARGEST_INDEX and step:
            yield from range(first, last + 1, step)


def element(id_: str, index: int | None) -> str:
    """Return an id as Slurm writes it: ``4711``, ``4711_3``."""
    return id_ if index is None else f"{id_}_{index}"


def seconds(elapsed: str) -> int:
    """Return ``[[D-]HH:]MM:SS`` in seconds; 0 for anything else, such as ``INVALID``."""
    days, _, clock = elapsed.rpartition("-")
    parts = clock.split(":")
    total = 0
    for part in parts:
        if (count := number(part)) is None:
            return 0
        total = total * 60 + count
    whole_days = number(days or "0")
    return 0 if whole_days is None else total + whole_days * 86400


def _entry(word: str, reason: str, elapsed_s: int, node: str) -> Entry:
    state = STATES.get(word)
    if state is None:
        state = State.RUNNING if node else State.QUEUED
        if word not in _told:
            _told.add(word)
            log.warning("Slurm says %s of a job, which repx does not know; taken as alive", word)
    if word in ("CANCELLED", "PENDING") and reason == _SKIPPED:
        state = State.SKIPPED
    said = "" if reason in ("None", "") else reason
    if state is State.QUEUED and (why := _STUCK.get(said.replace("_", " "))):
        said = f"{said} ({why})"
    return Entry(word=word, state=state, reason=said, elapsed_s=elapsed_s, node=node)


_told: set[str] = set()  # words that were warned about
