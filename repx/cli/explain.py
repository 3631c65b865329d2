"""Everything known of one job, as a document and as text: what `repx show job` prints."""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Final

from repx import brought, console, launch, schedulers
from repx.config.resources import LAB
from repx.model import SELF, value_text
from repx.results import effective
from repx.store import FAIL, SUCCESS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from repx.lab.load import OpenLab
    from repx.model import Executable, Input, Job
    from repx.plan import ResourcesOf
    from repx.schedulers.contract import Scheduler
    from repx.status import JobState
    from repx.store import Store
    from repx.target import Resources, Target

_MOST_FILES: Final = 50
_MEMORY: Final = ("mem_bytes", "mem_per_cpu", "mem_per_gpu")
_ASKED: Final = ("cpus", *_MEMORY, "time_s", "partition", "after", "sbatch_opts", "bundle")
_WRITTEN: Final = {
    **{name: (name.removesuffix("_bytes"), console.size) for name in _MEMORY},
    "time_s": ("time", console.duration),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One job and where it lives."""

    opened: OpenLab
    job: Job
    store: Store
    target: Target
    said: JobState
    resources: ResourcesOf

    @property
    def home(self) -> str:
        """Return the job's folder on the target."""
        return self.store.outputs(self.job.id)


def document(subject: Subject) -> dict[str, Any]:
    """Return everything known of a job, as JSON has it. Raises LabError for a broken Lab."""
    lab, job, said = subject.opened.lab, subject.job, subject.said
    phases = _phases(subject)
    by = None if said.by is None else str(said.by)
    scheduler = schedulers.of(subject.target)
    return {
        "id": job.id,
        "name": job.name,
        "stage": job.stage,
        "type": job.stage_type,
        "runs": [run.name for run in lab.runs.values() if job.id in run.jobs],
        "state": {"state": said.state, "reason": said.reason, "by": by, "where": said.where},
        "ended": {
            **subject.store.marker(job.id, FAIL),
            **subject.store.marker(job.id, SUCCESS),
        },
        "params": dict(job.shown),
        "inherited": _inherited(subject),
        "resources": {phase: _resources(asked) for phase, asked in phases.items()},
        "scheduler": scheduler.name,
        scheduler.name: _asked(scheduler, subject.target, phases),
        "inputs": _inputs(subject),
        "outputs": launch.outputs(job.final, f"{subject.home}/out"),
        "paths": {
            "output": f"{subject.home}/out",
            "logs": f"{subject.home}/repx",
            **{f"program {name}": place for name, place in _programs(subject)},
        },
        **_files(subject),
    }


def _inherited(subject: Subject) -> dict[str, object]:
    """Return the parameters of the jobs before that the job does not set itself."""
    lab, job = subject.opened.lab, subject.job
    found = effective.of_jobs(lab, [job.id])[job.id]
    return {name: value for name, value in sorted(found.items()) if name not in job.params}


def _phases(subject: Subject) -> dict[str, Resources]:
    job = subject.job
    run = next(run.name for run in subject.opened.lab.runs.values() if job.id in run.jobs)
    return {phase.name: subject.resources(job, run, phase) for phase in job.phases}


def _resources(asked: Resources) -> dict[str, dict[str, object]]:
    """Return each thing that was asked for: its value, and where that came from."""
    retries = None if asked.retries is None else str(asked.retries)
    given = {name: getattr(asked, name) for name in _ASKED} | {"retries": retries}
    given |= {f"slurm.{name}": value for name, value in asked.slurm.items()}
    return {
        name: {"value": value, "from": asked.sources.get(name, "")}
        for name, value in given.items()
        if value not in (None, ())
    }


def _asked(
    scheduler: Scheduler, target: Target, phases: Mapping[str, Resources]
) -> dict[str, list[str]]:
    """Return per phase what the scheduler is asked for; nothing where it is not asked."""
    found = {phase: scheduler.asked(target, wanted) for phase, wanted in phases.items()}
    return {phase: options for phase, options in found.items() if options}


def _inputs(subject: Subject) -> dict[str, dict[str, dict[str, str]]]:
    """Return per phase its inputs: the path each will have, and what it comes from."""
    lab, base, job = subject.opened.lab, subject.store.root, subject.job
    launches = launch.of_job(lab, base, job)
    return {
        phase.name: _described(phase.executable, it.inputs)
        for phase, it in zip(job.phases, launches, strict=True)
    }


def _described(executable: Executable, paths: Mapping[str, str]) -> dict[str, dict[str, str]]:
    origins = {source.target: _origin(source) for source in executable.inputs}
    return {
        name: {"path": path.replace(launch.BRANCH, "N"), "from": origins.get(name, "scatter")}
        for name, path in paths.items()
    }


def _origin(source: Input) -> str:
    if source.job_id is not None:
        job = "scatter" if source.job_id == SELF else source.job_id
        return f"{job} {source.source_output}"
    if source.source_run is not None:
        return f"run {source.source_run} ({source.dependency_type or 'hard'})"
    return source.source or "the store"


def _programs(subject: Subject) -> Iterator[tuple[str, str]]:
    for name, executable in subject.job.executables.items():
        yield name, f"{subject.opened.root}/{executable.path}"


def _files(subject: Subject) -> dict[str, dict[str, int]]:
    """Return the sizes of logs and output files in bytes, by path from the job's folder."""
    home = f"outputs/{subject.job.id}/"
    sizes = {key.removeprefix(home): size for key, size in subject.store.sizes(home[:-1]).items()}
    outputs = {path: size for path, size in sizes.items() if path.startswith("out/")}
    logs = [path for path in sizes if _is_log(path)]
    return {"logs": {path: sizes[path] for path in sorted(logs, key=_by_branch)}, "files": outputs}


def _is_log(path: str) -> bool:
    folder, _, name = path.rpartition("/")
    return ".log" in name and folder.rpartition("/")[2] == "repx"


def _by_branch(path: str) -> tuple[int, str, str]:
    """Order the job's own logs before those of scatter and those of the branches, by number."""
    first = path.partition("/")[0]
    return len(first), first, path


# --- as text --------------------------------------------------------------------------------


def lines(found: Mapping[str, Any]) -> Iterator[str]:
    """Yield the document as a person reads it, block by block."""
    yield from _head(found)
    for title, rows in (
        ("Parameters", _value_rows(found["params"])),
        ("Parameters of upstream jobs", _value_rows(found["inherited"])),
        ("Resources", _resource_rows(found["resources"])),
        ("Requested of the scheduler", _asked_rows(found[found["scheduler"]])),
        ("Inputs", _input_rows(found["inputs"])),
        ("Outputs", found["outputs"].items()),
        ("Paths", found["paths"].items()),
        ("Logs", _file_rows({path: size for path, size in found["logs"].items() if size})),
        ("Output files", _file_rows(found["files"])),
    ):
        block = list(_aligned(rows))
        if block:
            yield ""
            yield console.bold(title)
            yield from block


def _head(found: Mapping[str, Any]) -> Iterator[str]:
    told = found["state"]
    why = " ".join(console.plain(told[key]) for key in ("reason", "where", "by") if told[key])
    for title, value in (
        ("Job", console.plain(found["id"])),
        ("Name", console.plain(found["name"])),
        ("Runs", console.plain(", ".join(found["runs"]))),
        ("Type", found["type"]),
        ("State", console.state(told["state"]) + (f" ({why})" if why else "")),
        ("Took", _took(found["ended"])),
        ("From", _made_elsewhere(found["ended"])),
    ):
        if value:
            yield f"{title + ':':<7}{value}"


def _took(ended: Mapping[str, Any]) -> str:
    """Return when and how long the job last ran; empty when it has not ended."""
    start, end = ended.get("start"), ended.get("end")
    if not isinstance(start, int | float) or not isinstance(end, int | float):
        return ""
    try:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(start))
    except (OverflowError, ValueError, OSError):  # a marker of somebody else's
        return ""
    where = f" on {console.plain(ended['host'])}" if ended.get("host") else ""
    where += f" in {console.plain(ended['runtime'])}" if ended.get("runtime") else ""
    if ended.get("passed_over"):
        where += f" (not in {console.plain(ended['passed_over'])})"
    took = console.duration(end - start) if end >= start else "unknown (a clock was set back)"
    return f"{took}, from {when}{where}"


def _made_elsewhere(ended: Mapping[str, Any]) -> str:
    """Return where results were brought from and who made them; empty for those made here."""
    note = brought.origin(ended)
    by = f", made by {console.plain(note['by'])}" if note.get("by") else ""
    return f"{console.plain(note['from'])}{by}" if note.get("from") else ""


def _resource_rows(phases: Mapping[str, Any]) -> Iterator[Sequence[object]]:
    for phase, fields in phases.items():
        where = [] if phase == "main" else [phase]
        if not fields:
            yield (*where, "no resources are requested")
        for name, field in fields.items():
            title, written = _WRITTEN.get(name, (name, _value))
            source = "the Lab" if field["from"] == LAB else field["from"]
            yield (*where, title, written(field["value"]), f"from {source}")


def _value(value: object) -> str:
    return " ".join(value) if isinstance(value, tuple) else value_text(value)


def _value_rows(values: Mapping[str, object]) -> Iterator[Sequence[object]]:
    for name, value in values.items():
        yield name, value_text(value)


def _asked_rows(phases: Mapping[str, Sequence[str]]) -> Iterator[Sequence[object]]:
    for phase, words in phases.items():
        yield (" ".join(words),) if phase == "main" else (phase, " ".join(words))


def _input_rows(phases: Mapping[str, Any]) -> Iterator[Sequence[object]]:
    for phase, names in phases.items():
        for name, source in names.items():
            where = [] if phase == "main" else [phase]
            yield (*where, name, console.name(source["from"]))
            yield (*("" for _ in where), "", source["path"])


def _file_rows(files: Mapping[str, int]) -> Iterator[Sequence[object]]:
    for path, size in list(files.items())[:_MOST_FILES]:
        yield console.size(size), path
    if len(files) > _MOST_FILES:
        yield "", f"and {len(files) - _MOST_FILES} more"


def _aligned(rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """Yield the rows below each other, every column but a row's last as wide as its widest cell."""
    cells = [[console.plain(cell) for cell in row] for row in rows]
    inner = zip_longest(*(row[:-1] for row in cells), fillvalue="")
    widths = [max(map(len, column)) for column in inner]
    for row in cells:
        *first, last = row
        padded = (cell.ljust(width) for cell, width in zip(first, widths, strict=False))
        yield f"  {'  '.join([*padded, last]).rstrip()}"
