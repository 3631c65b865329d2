"""`repx render`: write the scripts of a run and stop there."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from repx import console, engine, schedulers
from repx.cli import fetching, given, remaking, report
from repx.cli.choosing import from_option, scheduler_option, selection_options
from repx.cli.context import command
from repx.cli.forgotten import no_build_option
from repx.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from repx.cli.context import Context
    from repx.model import Lab
    from repx.plan import Plan, Wish


@command(
    name="render",
    examples="""
    repx render training -o scripts        then: bash scripts/run.sh
    repx render --target cluster -o out    then: bash out/submit.sh
    """,
)
@selection_options
@scheduler_option
@from_option
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    metavar="DIR",
    help="The folder to write; new, or empty.",
)
@no_build_option
def render(context: Context, wish: Callable[[Lab], Wish], output: Path, no_build: bool) -> int:
    """Write the submission folder of a run without starting it.

    The scripts run here as they are: what they need is copied to the target's store, also results
    from `cache:` and --from. Running them by hand gives the same markers, logs and statuses as
    `repx run`.
    """
    folder = output.absolute()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{output} exists and is not an empty folder", hint="name a new folder")
    opened = context.lab_to_run(as_it_is=no_build)
    context.verify(opened)
    target = context.target()
    store = context.store(target)
    resources, explain = context.resources_of(opened.lab, target), context.explain(opened)
    supply = context.supply(opened.lab)

    def made(wished: Wish) -> Plan:
        return engine.prepare(opened.lab, wished, store, target, resources, explain, supply.reasons)

    plan, wished = remaking.plan(opened.lab, store, wish(opened.lab), made)
    given.hint(context, target, [task.job.id for task in plan.tasks])
    plan = fetching.all_of(plan, supply, store, lambda: made(wished))
    if not plan.tasks:
        report.nothing_to_do(plan, as_json=context.json)
        return 0
    written = engine.render_to(folder, opened, plan, store, target)
    if context.json:
        console.json({"submission": written.id, "folder": written.folder, "jobs": len(plan.tasks)})
    else:
        console.out(written.folder)
        script = schedulers.of(target).script
        start = f"bash {shlex.quote(f'{output}/{script}')}"
        console.note(f"{console.counted(len(plan.tasks), 'job')}; start with: {start}")
    return 0
