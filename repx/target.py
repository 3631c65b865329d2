"""A target profile, and the resources that a job may ask for. Data only."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final


class SchedulerName(StrEnum):
    """The scheduler that starts jobs."""

    LOCAL = "local"
    SLURM = "slurm"
    DIALECT = "dialect"


class RuntimeName(StrEnum):
    """The runtime that a job's program runs in."""

    NATIVE = "native"
    BWRAP = "bwrap"
    APPTAINER = "apptainer"
    CHARLIECLOUD = "charliecloud"
    PODMAN = "podman"
    DOCKER = "docker"


# The default runtimes for jobs with an image: all that isolate.
ISOLATING: Final = tuple(name for name in RuntimeName if name is not RuntimeName.NATIVE)


class RootName(StrEnum):
    """The root that an isolated program sees: that of its image, or the node's own."""

    IMAGE = "image"
    HOST = "host"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """The commands of a batch system without job arrays: command lines, patterns, states.

    ``submit``, ``after`` and ``resources`` have placeholders like ``{ids}``; ``states`` maps the
    system's words to ``queued``, ``running`` or ``ended``.
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
    """The kinds of failure after which a job may be tried again."""

    OOM = "oom"
    TIMEOUT = "timeout"
    NODE_FAIL = "node_fail"
    PREEMPTED = "preempted"
    EXIT = "exit"


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """How often, after which failures and with how many more resources a job is tried again.

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
        """Return the retries in words: ``3``, ``3 on oom, mem x2``."""
        on = () if self.on == tuple(RetryReason) else (f"on {' '.join(self.on)}",)
        given = (("mem", self.mem), ("time", self.time))
        more = (f"{name} x{factor:g}" for name, factor in given if factor != 1)
        return ", ".join((" ".join((str(self.n), *on)), *more))

    def ladder(self, first: Resources) -> tuple[Resources, ...]:
        """Return the resources of each attempt; the last entry repeats."""
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
        """Return the memory limit for one of ``count`` cores or GPUs."""
        return self.max_mem_bytes and self.max_mem_bytes // max(1, count or 1)


def _more(amount: int | None, factor: float, most: int | None) -> int | None:
    """Return an amount times a factor, at most ``most``, but not less than the amount."""
    if amount is None:
        return None
    more = math.ceil(amount * factor)
    return more if most is None else max(amount, min(more, most))


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """The resources that one job asks for; None means that nothing was asked.

    ``mem_bytes`` is memory per job, with ``mem_per_cpu`` or ``mem_per_gpu`` as alternatives,
    ``time_s`` wall time in seconds, ``cpus`` cores, ``after`` other Slurm jobs to wait for.
    ``slurm`` holds further sbatch options by long name without dashes (``{"gres": "gpu:1"}``),
    ``sbatch_opts`` complete options from a Lab (``--account=x``), each one word. ``sources`` has
    the origin of each field's value; ``taken_back`` are fields whose earlier values are dropped.
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
        """Return the number of GPUs: 2 for ``2``, ``a100:2`` or a ``gres`` of ``gpu:2``."""
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
    """Return the count in ``a100:2``; 1 for ``a100``."""
    last = text.rpartition(":")[2]
    return int(last) if last.isdecimal() else 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Resources for jobs that meet every condition; ``origin`` is the rule's place in a file.

    A condition is a list of globs, one of which must match; an empty list matches everything. The
    steps of a scatter-gather job get ``steps`` instead.
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
    """Resources from files: a Lab's hints override ``defaults``, and ``rules`` override hints."""

    defaults: tuple[Rule, ...] = ()
    rules: tuple[Rule, ...] = ()

    def __add__(self, later: Rules) -> Rules:
        """Return both; those of ``later`` win."""
        return Rules(defaults=self.defaults + later.defaults, rules=self.rules + later.rules)


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalOptions:
    """The ``local:`` block: how much of the machine the local scheduler may use."""

    jobs: int | None = None
    cpus: int | None = None
    mem_bytes: int | None = None
    gpus: int | tuple[str, ...] | None = None  # how many, or which ones


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


# The umask of a target's processes, by ``share``.
_UMASKS: Final[Mapping[str, str]] = {"group": "0002", "read": "0022", "private": "0077"}


class MissingOutputs(StrEnum):
    """The result of a job whose program ended well without a declared output."""

    FAIL = "fail"
    WARN = "warn"


class Durability(StrEnum):
    """Whether a success is marked only after its outputs are on the disk."""

    FULL = "full"
    FAST = "fast"


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """A value read on the target, from a file (``source`` is its path) or a variable."""

    kind: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One profile of targets.yaml, complete: every default filled in, every path expanded.

    ``base_path``, ``node_local_path`` and ``mount_paths`` are POSIX paths on the target, absolute
    on this machine; on another machine ``~`` and variables expand there (``Place.settled``).
    ``templates`` is an absolute path on this machine. ``share`` is group, read, private or empty,
    which leaves the user's umask. ``cache`` are URLs of archives. ``runtimes`` are those of the
    profile, in order of preference; empty if the profile has none.
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
        """Return the runtimes for jobs with an image: native only if the profile says so."""
        return self.runtimes or ISOLATING

    @property
    def usual(self) -> tuple[RuntimeName, ...]:
        """Return the runtimes of the profile, by default native."""
        return self.runtimes or (RuntimeName.NATIVE,)

    @property
    def umask(self) -> str:
        """Return the argument of ``umask`` for ``share``; empty for the user's own umask."""
        return _UMASKS.get(self.share, "")
