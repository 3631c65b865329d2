"""`repx list`: what a Lab holds, as tables that pipe."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import click

from repx import console, select
from repx.cli import complete
from repx.cli.context import group
from repx.cli.list_jobs import Wish, jobs, list_jobs
from repx.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator

    from repx.cli.context import Context
    from repx.model import JobId, Lab


@group(
    name="list",
    invoke_without_command=True,
    examples="""
        repx list                            # the runs
        repx list jobs training -p seed -p model.size
        repx list jobs --status failed
        repx list deps 3k9x2m
        """,
)
@click.pass_context
def list_(ctx: click.Context, context: Context) -> None:
    """List runs, jobs, dependencies or groups; by default, the runs.

    In a pipe a table is tab-separated, has no headings and shows job ids in full.
    """
    if ctx.invoked_subcommand is None:
        _list_runs(context)


@list_.command(
    examples="""
        repx list runs
        repx list runs training              # the jobs of one run
        repx list runs --json | jq '.[].name'
        """
)
@click.argument("name", required=False, shell_complete=complete.runs)
@click.pass_obj
def runs(context: Context, /, name: str | None) -> None:
    """List the runs, or the jobs of one."""
    if name is None:
        _list_runs(context)
    else:
        list_jobs(context, Wish(name=name))


def _list_runs(context: Context) -> None:
    lab = context.lab_to_look_at().lab
    groups = {
        run: [name for name, members in lab.groups.items() if run in members] for run in lab.runs
    }
    if context.json:
        console.json(
            [
                {
                    "name": run.name,
                    "jobs": len(run.jobs),
                    "needs": dict(run.dependencies),
                    "groups": groups[run.name],
                }
                for run in lab.runs.values()
            ]
        )
        return
    rows = (
        (
            run.name,
            len(run.jobs),
            ", ".join(f"{name} ({kind})" for name, kind in run.dependencies.items()),
            " ".join(f"@{name}" for name in groups[run.name]),
        )
        for run in lab.runs.values()
    )
    console.table(("run", "jobs", "needs", "groups"), rows)


list_.add_command(jobs)


# --- dependencies -------------------------------------------------------------------------


@list_.command(
    examples="""
        repx list deps 3k9x2m                # a job
        repx list deps report                # a run that ends in one job
        repx list dependencies 3k9x2m        # the same, spelt out
        """
)
@click.argument("job", shell_complete=complete.one_job)
@click.pass_obj
def deps(context: Context, job: str) -> None:
    """Show what a job needs, as a tree."""
    lab = context.lab_to_look_at().lab
    top = select.one_job(lab, job)
    if context.json:
        console.json(_reachable(lab, top))
        return
    for depth, name, seen in _tree(lab, top):
        console.out(f"{'  ' * depth}{console.name(name)}{' (see above)' if seen else ''}")


_spelt_out = copy.copy(deps)  # as RepX 0.5 has it, too
_spelt_out.hidden = True
list_.add_command(_spelt_out, "dependencies")


def _tree(lab: Lab, top: JobId) -> Iterator[tuple[int, str, bool]]:
    """Yield depth, name and whether its needs were shown before, depth first."""
    shown: set[JobId] = set()
    stack = [(0, top)]
    while stack:
        depth, job = stack.pop()
        needs = lab.needs[job]
        yield depth, job, job in shown and bool(needs)
        if job not in shown:
            shown.add(job)
            runs_before = sorted(
                {
                    f"run {source.source_run} ({source.dependency_type or 'hard'})"
                    for source in lab.jobs[job].entry.inputs
                    if source.source_run is not None
                }
            )
            yield from ((depth + 1, words, False) for words in runs_before)
            stack.extend((depth + 1, need) for need in sorted(needs, reverse=True))


def _reachable(lab: Lab, top: JobId) -> dict[JobId, list[JobId]]:
    found: dict[JobId, list[JobId]] = {}
    stack = [top]
    while stack:
        job = stack.pop()
        if job not in found:
            found[job] = list(lab.needs[job])
            stack.extend(found[job])
    return found


# --- groups -------------------------------------------------------------------------------


@list_.command(
    examples="""
        repx list groups
        repx list groups @nightly            # the runs of one group
        """
)
@click.argument("name", required=False, shell_complete=complete.groups)
@click.pass_obj
def groups(context: Context, name: str | None) -> None:
    """List the groups, or the runs of one."""
    lab = context.lab_to_look_at().lab
    if name is not None:
        _list_members(lab, name.removeprefix("@"), as_json=context.json)
    elif context.json:
        console.json({name: list(members) for name, members in lab.groups.items()})
    else:
        rows = ((f"@{name}", len(members)) for name, members in sorted(lab.groups.items()))
        console.table(("group", "runs"), rows)
        if not lab.groups:
            console.note("this Lab has no groups")


def _list_members(lab: Lab, name: str, *, as_json: bool) -> None:
    if name not in lab.groups:
        known = ", ".join(f"@{group}" for group in lab.groups)
        hint = did_you_mean(name, lab.groups) or (f"groups: {known}" if known else None)
        raise InputError(f"no group '@{name}' in this Lab", hint=hint)
    members = sorted(lab.groups[name])
    if as_json:
        console.json(members)
    else:
        console.table(("run", "jobs"), ((run, len(lab.runs[run].jobs)) for run in members))
