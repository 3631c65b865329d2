"""`repx trace-params`: the parameters that shaped each job, its own and those before it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from repx import console, select
from repx.cli import complete
from repx.cli.context import command
from repx.results import effective

if TYPE_CHECKING:
    from repx.cli.context import Context


@command(
    name="trace-params",
    examples="""
        repx trace-params 3k9x2m
        repx trace-params | jq 'map(.seed) | unique'
        """,
)
@click.argument("job", required=False, shell_complete=complete.one_job)
def trace_params(context: Context, job: str | None) -> None:
    """Print, as JSON, the effective parameters of JOB, or of every job.

    They are the job's own, laid over those of all jobs it depends on.
    """
    lab = context.lab_to_look_at().lab
    wanted = sorted(lab.jobs) if job is None else [select.one_job(lab, job)]
    found = effective.of_jobs(lab, wanted)
    console.json({name: dict(sorted(found[name].items())) for name in wanted})
