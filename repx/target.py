"""What a target profile says, and what a job may ask of it. Data only."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final


class SchedulerName(StrEnum):
    """Who decides when a job starts."""

    LOCAL = "local"
    SLURM = "slurm"
    DIALECT = "dialect"


class RuntimeName(StrEnum):
    """What a job's program runs in."""

    NATIVE = "native"
    BWRAP = "bwrap"
    APPTAINER = "apptainer"
    CHARLIECLOUD = "charliecloud"
    PODMAN = "podman"
    DOCKER = "docker"


# What jobs with an image run in where a target does not say: whatever isolates.
ISOLATING: Final = tuple(name for name in RuntimeName if name is not RuntimeName.NATIVE)


class RootName(StrEnum):
    """What an isolated program sees as its root: that of its image, or the node's own."""

    IMAGE = "image"
    HOST = "host"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """How a batch system without job arrays is spoken to: command lines, patterns, states.

    ``submit``, ``after`` and ``resources`` have holes like ``{ids}``; ``states`` maps the system's
    words to ``queued``, ``running`` or ``ended``.
    """

    name: str
    submit: tuple[str, ...]
    id_pattern: str
    after: tuple[str, ...]
    query: tuple[str, ...]
    job_pattern: str
    states: Mapping[str, str]
    cancel: tuple[str, ...]
    join: str = ","
    none_pattern: str = ""
    resources: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


class RetryReason(StrEnum):
    """Why a job may be tried again."""

    OOM = "oom"
    TIMEOUT = "timeout"
    NODE_FAIL = "node_fail"
    PREEMPTED = "preempted"
    EXIT = "exit"


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """How often a job that failed is tried again, for which reasons, and with how much more.

    ``mem`` and ``time`` are factors from one attempt to the next, up to ``max_mem_bytes`` and
    ``max_time_s``.
    """

    n: int = 0
    on: tuple[RetryReason, ...] = tuple(RetryReason)
    mem: float = 1.0
    time: float = 1.0
    max_mem_bytes: int | None = None
    max_time_s: int | None = None

    def __str__(self) -> str:
        """Return what a profile says: ``3``, ``3 on oom, mem x2``."""
        on = () if self.on == tuple(RetryReason) else (f"on {' '.join(self.on)}",)
        given = (("mem", self.mem), ("time", self.time))
        more = (f"{name} x{factor:g}" for name, factor in given if factor != 1)
        return ", ".join((" ".join((str(self.n), *on)), *more))

    def ladder(self, first: Resources) -> tuple[Resources, ...]:
        """Return what each attempt asks for; the last entry repeats."""
        found = [first]
        for _ in range(self.n):
            before = found[-1]
            more = replace(
                before,
                mem_bytes=_more(before.mem_bytes, self.mem, self.max_mem_bytes),
                mem_per_cpu=_more(before.mem_per_cpu, self.mem, self._share(before.cpus)),
                mem_per_gpu=_more(before.mem_per_gpu, self.mem, self._share(before.gpus)),
                time_s=_more(before.time_s, self.time, self.max_time_s),
            )
            if more == found[-1]:
                break
            found.append(more)
        return tuple(found)

    def _share(self, count: int | None) -> int | None:
        """Return what one of so many may have of the most memory."""
        return self.max_mem_bytes and self.max_mem_bytes // max(1, count or 1)


def _more(amount: int | None, factor: float, most: int | None) -> int | None:
    """Return an amount times a factor, at most ``most`` unless it was more at first."""
    if amount is None:
        return None
    more = math.ceil(amount * factor)
    return more if most is None else max(amount, min(more, most))


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What one job asks for; None means nothing was asked.

    ``mem_bytes`` per job, or ``mem_per_cpu`` or ``mem_per_gpu`` in its place, ``time_s`` wall time
    in seconds, ``cpus`` cores, ``after`` Slurm jobs of others to wait for. ``slurm`` holds further
    sbatch options by long name without dashes (``{"gres": "gpu:1"}``);
    ``sbatch_opts`` are whole options as a Lab writes them (``--account=x``), each one word.
    ``sources`` names, per field, where its value came from; ``taken_back`` the fields for which
    what was said before counts no more.
    """

    cpus: int | None = None
    mem_bytes: int | None = None
    mem_per_cpu: int | None = None
    mem_per_gpu: int | None = None
    time_s: int | None = None
    partition: str | None = None
    after: tuple[str, ...] = ()
    sbatch_opts: tuple[str, ...] = ()
    slurm: Mapping[str, str | int | bool] = field(default_factory=dict)
    bundle: str | None = None
    retries: Retries | None = None
    sources: Mapping[str, str] = field(default_factory=dict)
    taken_back: frozenset[str] = frozenset()

    @property
    def gpus(self) -> int:
        """Return how many GPUs are asked for: 2 of ``2``, ``a100:2`` or a ``gres`` of ``gpu:2``."""
        if (asked := self.slurm.get("gpus")) not in (None, False):
            return sum(_last_number(part) for part in str(asked).split(","))
        parts = str(self.slurm.get("gres") or "").split(",")
        return sum(_last_number(part) for part in parts if part.partition(":")[0] == "gpu")

    @property
    def memory(self) -> int | None:
        """Return the bytes of memory of the whole job."""
        if self.mem_per_cpu:
            return self.mem_per_cpu * (self.cpus or 1)
        return self.mem_per_gpu * self.gpus if self.mem_per_gpu else self.mem_bytes


def _last_number(text: str) -> int:
    """Return the count of ``a100:2``; 1 of ``a100``."""
    last = text.rpartition(":")[2]
    return int(last) if last.isdecimal() else 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Resources for the jobs that meet every condition; ``origin`` is where it is written.

    Conditions are globs of which one must match; no globs match everything. ``steps`` is
    what the steps of a scatter-gather job get instead.
    """

    origin: str
    resources: Resources
    steps: Resources | None = None
    jobs: tuple[str, ...] = ()
    stages: tuple[str, ...] = ()
    runs: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What files say about resources: ``defaults`` come before a Lab's hints, ``rules`` after."""

    defaults: tuple[Rule, ...] = ()
    rules: tuple[Rule, ...] = ()

    def __add__(self, later: Rules) -> Rules:
        """Return both, the ones of ``later`` winning."""
        return Rules(defaults=self.defaults + later.defaults, rules=self.rules + later.rules)


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalOptions:
    """The ``local:`` block: how much of the machine the local scheduler may use."""

    jobs: int | None = None
    cpus: int | None = None
    mem_bytes: int | None = None
    gpus: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """One ``bundle:`` entry: the Slurm job that several jobs share. Rules name it."""

    name: str
    cpus: int | None = None
    mem_bytes: int | None = None
    time_s: int | None = None
    count: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SlurmOptions:
    """The ``slurm:`` block. ``options`` are sbatch directives by long name."""

    options: Mapping[str, str | int | bool] = field(default_factory=dict)
    prologue: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    max_array_size: int | None = None
    max_running: int | None = None
    max_submit: int | None = None
    signal_before_s: int = 60
    requeue: bool = False
    bundles: tuple[Bundle, ...] = ()


# What processes of a target let others do with the files they make, by ``share``.
_UMASKS: Final[Mapping[str, str]] = {"group": "0002", "read": "0022", "private": "0077"}


class MissingOutputs(StrEnum):
    """What a job whose program ended well, but left an output away, has done."""

    FAIL = "fail"
    WARN = "warn"


class Durability(StrEnum):
    """Whether a success is marked only when its outputs are on the disk."""

    FULL = "full"
    FAST = "fast"


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """A value that is read at the target: of a file (``source`` its path) or of a variable."""

    kind: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One profile of targets.yaml, complete: every default filled in, every path expanded.

    ``base_path``, ``node_local_path`` and ``mount_paths`` are absolute POSIX paths on the target,
    where it is this machine; on another one ``~`` and variables expand there (``Place.settled``).
    ``templates`` is an absolute path on this machine. ``share`` is group, read, private or
    empty: then the umask decides. ``cache`` are URLs of archives.
    ``runtimes`` is what the profile says, in order of preference;
    nothing where it does not.
    """

    name: str
    base_path: str
    node_local_path: str | None = None
    address: str | None = None
    ssh_config: str | None = None
    share: str = ""
    scheduler: SchedulerName = SchedulerName.LOCAL
    dialect: Dialect | None = None
    runtimes: tuple[RuntimeName, ...] = ()
    rootfs: RootName = RootName.IMAGE
    mount_host_paths: bool = False
    mount_paths: tuple[str, ...] = ()
    network: bool = False
    gpus: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, Secret] = field(default_factory=dict)
    missing_outputs: MissingOutputs = MissingOutputs.FAIL
    durability: Durability = Durability.FULL
    templates: str | None = None
    cache: tuple[str, ...] = ()
    retries: Retries = field(default_factory=Retries)
    input_wait_s: int = 30
    local: LocalOptions = field(default_factory=LocalOptions)
    slurm: SlurmOptions = field(default_factory=SlurmOptions)
    resources: Rules = field(default_factory=Rules)

    @property
    def isolating(self) -> tuple[RuntimeName, ...]:
        """Return what jobs with an image run in: natively only where the profile says so."""
        return self.runtimes or ISOLATING

    @property
    def usual(self) -> tuple[RuntimeName, ...]:
        """Return what jobs run in as far as the profile tells."""
        return self.runtimes or (RuntimeName.NATIVE,)

    @property
    def umask(self) -> str:
        """Return what ``umask`` of a shell takes where ``share`` is given; empty: the user's."""
        return _UMASKS.get(self.share, "")
