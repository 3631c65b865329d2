"""The start of each phase of a job: program, inputs and outputs, as paths on the target.

The rules are those of docs/lab-format.md (Input, How a job is called). Paths of a phase that runs
per branch have ``BRANCH`` in place of the branch's number, since one description serves all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from repx.errors import LabError
from repx.model import SELF, STEP_PREFIX, Executable, Input, Job, JobId, Lab, Phase, RunName

# This text cannot occur in a path.
BRANCH: Final = "\0"

_STORE_BASE: Final = "store__base"
_WORK_ITEM: Final = "scatter:work_item"
_WORKER_OUTPUTS: Final = "runner:worker_outputs"
_STEP_SOURCE: Final = "step:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """One start of a program: absolute paths on the target.

    ``folder`` holds the phase's ``out`` and ``repx``. The program gets ``inputs_file``, the JSON
    object of ``inputs``, and ``parameters_file``, that of the parameters.
    """

    phase: str
    executable: str
    folder: str
    inputs_file: str
    parameters_file: str
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]

    @property
    def out(self) -> str:
        """Return the folder in which the program starts and writes."""
        return f"{self.folder}/out"

    @property
    def words(self) -> list[str]:
        """Return the program and its arguments."""
        return [self.executable, self.out, self.inputs_file, self.parameters_file]


def of_job(
    lab: Lab, base: str, job: Job, artifact: Callable[[str], str] = str
) -> tuple[Launch, ...]:
    """Return the launches of a job's phases, in the order of ``Job.phases``.

    ``base`` is the store's path, ``artifact`` gives the path in the store of a file of the Lab.
    Raises LabError if the Lab contradicts itself.
    """
    home_folder = home(base, job.id)
    launches: list[Launch] = []
    for phase in job.phases:
        static = launches[0].inputs if launches else {}
        folder = phase_folder(home_folder, phase)
        own = _resolve(lab, base, job, phase.executable, static)
        launches.append(
            Launch(
                phase=phase.name,
                executable=artifact(phase.executable.path),
                folder=folder,
                inputs_file=_inputs_file(home_folder, folder, phase),
                parameters_file=f"{home_folder}/repx/parameters.json",
                inputs={**static, **own} if phase.name == "gather" else own,
                outputs=outputs(phase.executable, f"{folder}/out"),
            )
        )
    return tuple(launches)


def home(base: str, job: JobId) -> str:
    """Return the job's folder in the store at ``base``."""
    return f"{base}/outputs/{job}"


def phase_folder(home_folder: str, phase: Phase) -> str:
    """Return the folder with a phase's ``out`` and ``repx``, in the branch ``BRANCH``."""
    if phase.per_branch:
        return f"{home_folder}/branch-{BRANCH}/{phase.name}"
    return f"{home_folder}/scatter" if phase.name == "scatter" else home_folder


def _inputs_file(home_folder: str, folder: str, phase: Phase) -> str:
    # The job's own inputs file is scatter's; gather must not overwrite it.
    if phase.name == "gather":
        return f"{home_folder}/repx/gather_inputs.json"
    return f"{folder if phase.per_branch else home_folder}/repx/inputs.json"


def lab_folder(lab: Lab) -> str:
    """Return the key of the folder of a Lab's files in a store, laid out as in the Lab.

    The folder is named by content, so that no Lab replaces the files of another.
    """
    return f"labs/{lab.digest[:32] or lab.id}"


def tools(lab: Lab) -> str:
    """Return the key of the folder with the Lab's host tools; empty if there are none."""
    return f"{lab_folder(lab)}/host-tools/{lab.host_tools}/bin" if lab.host_tools else ""


def own_name(lab: Lab) -> str:
    """Return the prefix for names of a Lab's metadata in a store: its id and its digest."""
    return f"{lab.id}-{lab.digest[:12]}" if lab.digest else lab.id


def metadata_name(lab: Lab, run: RunName) -> str:
    """Return the key of a run's metadata below ``artifacts`` (``top``: the root metadata)."""
    return f"revision/{own_name(lab)}-metadata-{run}.json"


def outputs(executable: Executable, out: str) -> dict[str, str]:
    """Return the path of each declared output; descriptions that are no files are left out."""
    return {
        name: template.replace("$out", out)
        for name, template in executable.outputs.items()
        if isinstance(template, str)
    }


def _resolve(
    lab: Lab, base: str, job: Job, executable: Executable, static: Mapping[str, str]
) -> dict[str, str]:
    """Return an executable's inputs by name; ``static`` are those of scatter."""
    found = {}
    for source in executable.inputs:
        path = _path(lab, base, job, source, static)
        if path is not None:
            found[source.target] = path
    return found


def _path(lab: Lab, base: str, job: Job, source: Input, static: Mapping[str, str]) -> str | None:
    """Return the path of an input, or None if no rule covers the input."""
    inside = _inside(base, job, source)
    if inside is not None:
        return inside
    if source.job_id is not None and source.source_output is not None:
        return _of_producer(lab, base, job, source)
    if source.type == "global" or source.target == _STORE_BASE:
        return base
    if source.source_run is not None and source.source_run in lab.runs:
        return f"{base}/artifacts/{metadata_name(lab, source.source_run)}"
    return static.get(source.target)


def _inside(base: str, job: Job, source: Input) -> str | None:
    """Return the path of an input that another phase of the same job makes, else None."""
    if source.source == _WORK_ITEM:
        return f"{home(base, job.id)}/branch-{BRANCH}/repx/work_item.json"
    if source.source == _WORKER_OUTPUTS:
        return f"{home(base, job.id)}/repx/worker_outs_manifest.json"
    if source.source and source.source.startswith(_STEP_SOURCE):
        step = source.source.removeprefix(_STEP_SOURCE)
        return _of_phase(base, job, source, f"{STEP_PREFIX}{step}", f"step '{step}'")
    if source.job_id == SELF:
        return _of_phase(base, job, source, "scatter", "scatter")
    return None


def _of_phase(base: str, job: Job, source: Input, name: str, shown: str) -> str:
    executable = job.executables.get(name)
    if executable is None:
        raise _inconsistent(job, source, f"there is no {shown}")
    phase = Phase(name=name, executable=executable, per_branch=name.startswith(STEP_PREFIX))
    folder = phase_folder(home(base, job.id), phase)
    return _produced(executable, f"{folder}/out", job, source, shown)


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
