"""What each program of a job is given: input names and the paths behind them, as pure functions.

The rules are those of docs/lab-format.md (Input, How a job is called). Paths of a step hold
``BRANCH`` where the number of the branch goes, since one description serves all branches.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from repx import graph
from repx.errors import GraphError, LabError
from repx.model import SELF, STEP_PREFIX, Executable, Input, Job, JobId, Lab, RunName, StageType

# Cannot occur in a path, so nothing else is ever mistaken for it.
BRANCH: Final = "\0"

_STORE_BASE: Final = "store__base"
_WORK_ITEM: Final = "scatter:work_item"
_WORKER_OUTPUTS: Final = "runner:worker_outputs"
_STEP_SOURCE: Final = "step:"


def is_scatter_gather(job: Job) -> bool:
    """Tell whether the job runs in phases."""
    return job.stage_type is StageType.SCATTER_GATHER


def home(base: str, job: JobId) -> str:
    """Return the job's folder in the store at ``base``."""
    return f"{base}/outputs/{job}"


def scatter_out(base: str, job: JobId) -> str:
    """Return the folder scatter writes to."""
    return f"{home(base, job)}/scatter/out"


def step_folder(base: str, job: JobId, step: str) -> str:
    """Return the folder of a step in the branch ``BRANCH``."""
    return f"{home(base, job)}/branch-{BRANCH}/{STEP_PREFIX}{step}"


def metadata_name(lab_id: str, run: RunName) -> str:
    """Return what a store calls a run's metadata, below ``artifacts`` (``top``: the root's)."""
    return f"revision/{lab_id}-metadata-{run}.json"


def of_entry(lab: Lab, base: str, job: Job) -> dict[str, str]:
    """Return the inputs of ``main`` or ``scatter`` by name.

    Raises LabError where the Lab contradicts itself.
    """
    return _resolve(lab, base, job, job.entry, {})


def of_step(lab: Lab, base: str, job: Job, step: str, static: Mapping[str, str]) -> dict[str, str]:
    """Return the inputs of a step by name; ``static`` are those of scatter."""
    return _resolve(lab, base, job, job.steps[step], static)


def of_gather(lab: Lab, base: str, job: Job, static: Mapping[str, str]) -> dict[str, str]:
    """Return the inputs of gather by name: those of scatter and its own."""
    return {**static, **_resolve(lab, base, job, job.final, static)}


def outputs(executable: Executable, out: str) -> dict[str, str]:
    """Return the path of each declared output; descriptions that are no files are left out."""
    return {
        name: template.replace("$out", out)
        for name, template in executable.outputs.items()
        if isinstance(template, str)
    }


def sink(job: Job) -> str:
    """Return the one step that no other step needs. Raises LabError if it is not one."""
    needed = {dep for step in job.steps.values() for dep in step.deps}
    found = [name for name in job.steps if name not in needed]
    if len(found) != 1:
        message = f"job {job.id}: one step must be the last, but {len(found)} are: {found}"
        raise LabError(message)
    return found[0]


def step_order(job: Job) -> list[str]:
    """Return the steps, each after those it needs. Raises LabError for a cycle or unknown step."""
    try:
        return list(graph.order({name: step.deps for name, step in job.steps.items()}))
    except GraphError as error:
        message = f"job {job.id}: the steps {sorted(job.steps)} wait for each other or for no step"
        raise LabError(message) from error


def _resolve(
    lab: Lab, base: str, job: Job, executable: Executable, static: Mapping[str, str]
) -> dict[str, str]:
    found = {}
    for source in executable.inputs:
        path = _path(lab, base, job, source, static)
        if path is not None:
            found[source.target] = path
    return found


def _path(lab: Lab, base: str, job: Job, source: Input, static: Mapping[str, str]) -> str | None:
    """Return the path behind an input, or None for one that no rule covers."""
    inside = _inside(base, job, source)
    if inside is not None:
        return inside
    if source.job_id is not None and source.source_output is not None:
        return _of_producer(lab, base, job, source)
    if source.type == "global" or source.target == _STORE_BASE:
        return base
    if source.source_run is not None and source.source_run in lab.runs:
        return f"{base}/artifacts/{metadata_name(lab.id, source.source_run)}"
    return static.get(source.target)


def _inside(base: str, job: Job, source: Input) -> str | None:
    """Return the path of an input that another phase of the same job makes, else None."""
    if source.source == _WORK_ITEM:
        return f"{home(base, job.id)}/branch-{BRANCH}/repx/work_item.json"
    if source.source == _WORKER_OUTPUTS:
        return f"{home(base, job.id)}/repx/worker_outs_manifest.json"
    if source.source and source.source.startswith(_STEP_SOURCE):
        return _of_sibling(base, job, source)
    if source.job_id == SELF:
        return _produced(
            job.executables["scatter"], scatter_out(base, job.id), job, source, "scatter"
        )
    return None


def _of_sibling(base: str, job: Job, source: Input) -> str:
    step = str(source.source).removeprefix(_STEP_SOURCE)
    executable = job.steps.get(step)
    if executable is None:
        raise _inconsistent(job, source, f"there is no step '{step}'")
    return _produced(executable, f"{step_folder(base, job.id, step)}/out", job, source, step)


def _of_producer(lab: Lab, base: str, job: Job, source: Input) -> str:
    producer = lab.jobs.get(source.job_id or "")
    if producer is None:
        raise _inconsistent(job, source, f"there is no job {source.job_id}")
    return _produced(producer.final, f"{home(base, producer.id)}/out", job, source, producer.id)


def _produced(executable: Executable, out: str, job: Job, source: Input, maker: str) -> str:
    template = executable.outputs.get(source.source_output or "")
    if not isinstance(template, str):
        raise _inconsistent(job, source, f"{maker} makes no output '{source.source_output}'")
    return template.replace("$out", out)


def _inconsistent(job: Job, source: Input, why: str) -> LabError:
    message = f"job {job.id}: input '{source.target}' has no source: {why}"
    return LabError(message, hint="build the Lab again; its metadata is inconsistent")
