"""`repx list jobs`: which jobs there are, filtered, each with what was asked about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import click

from repx import console, select
from repx.cli import complete
from repx.cli.context import command
from repx.errors import InputError, did_you_mean
from repx.lab.jobs import parameters
from repx.model import stage_of, value_text
from repx.results import effective
from repx.status import State

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from repx.cli.context import Context
    from repx.model import Job, JobId, Lab, RunName
    from repx.status import JobState

    Column: TypeAlias = tuple[str, Callable[[JobId], object]]  # its heading, a job's cell

_ABSENT: Final = "-"
_MISSING: Final = object()


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """Which jobs, and what about each."""

    name: str | None = None
    stage: str = ""
    states: tuple[str, ...] = ()
    params: tuple[str, ...] = ()
    output_paths: bool = False
    by_stage: bool = False


@command(
    examples="""
        repx list jobs
        repx list jobs training --stage fit --output-paths
        repx list jobs @nightly --status failed --status lost
        repx list jobs training -p seed -p loss | sort -k3 -n
        """
)
@click.argument("name", required=False, shell_complete=complete.names)
@click.option(
    "-s",
    "--stage",
    metavar="TEXT",
    default="",
    shell_complete=complete.stages,
    help="Only jobs whose name (the id without its hash) holds TEXT.",
)
@click.option(
    "--status",
    "states",
    multiple=True,
    type=click.Choice([state.value for state in State]),
    metavar="STATE",
    help=f"Only jobs in this state: {', '.join(State)}. Repeatable.",
)
@click.option(
    "-p",
    "--param",
    "params",
    multiple=True,
    metavar="KEY",
    help="Show this parameter, also one of an upstream job; `a.b` for nested ones. Repeatable.",
)
@click.option("--output-paths", is_flag=True, help="Show where each job's files are.")
@click.option("-g", "--group-by-stage", "by_stage", is_flag=True, help="Order by stage.")
def jobs(context: Context, **options: Any) -> None:  # noqa: ANN401  # the fields of Wish
    """List jobs with their parameters.

    NAME is a run, a group (@name), or the beginning of a run's name or of job ids.
    """
    list_jobs(context, Wish(**options))


def list_jobs(context: Context, wish: Wish) -> None:
    """Write the jobs that a wish means. Raises InputError for a name that the Lab lacks."""
    lab = context.lab_to_look_at().lab
    chosen = [job for job in _chosen(lab, wish.name) if wish.stage in job.partition("-")[2]]
    states = context.states(lab) if wish.states else {}
    if wish.states:
        chosen = [job for job in chosen if states[job].state in wish.states]
    from repx.lab import order  # `repx list` alone needs none

    chosen = order.by_parameters(lab, chosen)
    if wish.by_stage:
        chosen.sort(key=stage_of)
    outputs = _outputs(context, chosen) if wish.output_paths else {}
    if context.json:
        runs = lab.runs_of_jobs()
        console.json([_document(lab.jobs[job], runs[job], states, outputs) for job in chosen])
        return
    columns = _columns(lab, wish, chosen, states, outputs)
    rows = ([cell(job) for _, cell in columns] for job in chosen)
    console.table([heading for heading, _ in columns], rows)
    if not chosen:
        console.note("no jobs match")


def _chosen(lab: Lab, name: str | None) -> list[JobId]:
    """Return the jobs a word means here, where several may be meant."""
    if name is None:
        return list(lab.jobs)
    begun = [run for run in lab.runs if run.startswith(name)] if name else []
    if name in lab.runs or not begun:
        alike = [job for job in lab.jobs if name and job.startswith(name)]
        return list(lab.runs[name].jobs if name in lab.runs else alike or _named(lab, name))
    if len(begun) > 1:
        raise InputError(
            f"'{name}' begins the names of {len(begun)} runs: {', '.join(begun)}",
            hint="type more of the name",
        )
    return list(lab.runs[begun[0]].jobs)


def _named(lab: Lab, name: str) -> Sequence[JobId]:
    return select.jobs(lab, [name])


def _columns(
    lab: Lab,
    wish: Wish,
    chosen: Sequence[JobId],
    states: Mapping[JobId, JobState],
    outputs: Mapping[JobId, str | None],
) -> list[Column]:
    """Return what is shown of each job, from left to right."""
    columns: list[Column] = []
    if wish.by_stage:
        columns.append(("stage", stage_of))
    columns.append(("job", lambda job: job))
    if len(lab.runs) > 1 and wish.name not in lab.runs:
        runs = lab.runs_of_jobs()
        columns.append(("run", lambda job: " ".join(runs[job])))
    if wish.states:
        columns.append(("state", lambda job: states[job].state))
    columns += _parameter_columns(lab, wish.params, chosen)
    if wish.output_paths:
        columns.append(("output", lambda job: outputs[job] or "(not executed)"))
    return columns


def _outputs(context: Context, chosen: Sequence[JobId]) -> dict[JobId, str | None]:
    """Return the output folder of each job, None for one that was never executed."""
    store = context.store()
    started = store.started()
    return {job: f"{store.outputs(job)}/out" if job in started else None for job in chosen}


def _parameter_columns(lab: Lab, keys: Sequence[str], chosen: Sequence[JobId]) -> list[Column]:
    """Return a column for each parameter asked for, or one for all that the job itself has."""
    if not keys:
        return [("parameters", lambda job: _in_words(parameters(lab.jobs, job)))]
    known = effective.of_jobs(lab, chosen)
    for key in keys if chosen else ():
        if not any(_reach(known[job], key) is not _MISSING for job in chosen):
            raise _unknown_parameter(key, {name for job in chosen for name in known[job]})

    def cell(key: str) -> Callable[[JobId], object]:
        return lambda job: _shown(_reach(known[job], key))

    return [(key, cell(key)) for key in keys]


def _unknown_parameter(key: str, names: Collection[str]) -> InputError:
    near = did_you_mean(key, names)
    listed = f"their parameters are: {', '.join(sorted(names))}" if names else None
    return InputError(f"none of these jobs has a parameter '{key}'", hint=near or listed)


def _in_words(params: Mapping[str, object]) -> str:
    return " ".join(f"{name}={_shown(value)}" for name, value in sorted(params.items()))


def _reach(value: object, key: str) -> object:
    """Return a parameter, or what the dots in its name lead to."""
    if not isinstance(value, dict):
        return _MISSING
    if key in value:
        return value[key]
    head, dot, rest = key.partition(".")
    return _reach(value.get(head), rest) if dot else _MISSING


def _shown(value: object) -> str:
    """Return a parameter in a table's cell: what is long or nested only by its size or end."""
    match value:
        case None:
            return _ABSENT
        case list():
            return f"[{len(value)}]"
        case dict():
            return f"{{{len(value)}}}"
        case str() if value.startswith("/nix/store/"):
            return f".../{value.rpartition('/')[2]}"
        case _:
            return _ABSENT if value is _MISSING else value_text(value)


def _document(
    job: Job,
    runs: Sequence[RunName],
    states: Mapping[JobId, JobState],
    outputs: Mapping[JobId, str | None],
) -> dict[str, object]:
    return {
        "id": job.id,
        "name": job.name,
        "stage": job.stage,
        "runs": runs,
        "params": job.shown,
        **({"state": states[job.id].state} if states else {}),
        **({"output": outputs[job.id]} if outputs else {}),
    }
