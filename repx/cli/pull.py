"""`repx pull`: bring results from a target to a folder here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from repx import console, pulling, select
from repx import store as stores
from repx.cli import complete
from repx.cli.context import command

if TYPE_CHECKING:
    from repx.cli.context import Context


@command(
    name="pull",
    examples="""
    repx pull --target cluster            all results, to ./pulled
    repx pull training -o results         one run, to a folder of your own
    repx pull 3k9x2m --outputs '*.csv'    only some files of one job
    """,
)
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=complete.names)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("pulled"),
    metavar="DIR",
    help="The store to bring them to.  [default: ./pulled]",
)
@click.option("--outputs", metavar="PATTERN", help="Only output files like this: '*.csv'.")
def pull(context: Context, names: tuple[str, ...], output: Path, outputs: str | None) -> int:
    """Bring the results of jobs that have succeeded from a target to this machine.

    Names are runs, groups (@name), job ids or unique beginnings of one; none means every run.
    What is there already is not sent again. DIR is a store: `Lab.from_path("result", store="DIR")`
    reads it, and so does a target whose `base_path` it is.
    """
    lab = context.open_lab().lab
    source = context.store()
    target = stores.local(str(output.absolute()))
    done = pulling.pull(source, target, select.jobs(lab, names), outputs)
    if context.json:
        console.json({"jobs": done.jobs, "files": done.files, "bytes": done.size_bytes})
        return 0
    what = f"{console.counted(done.files, 'file')}, {console.size(done.size_bytes)}"
    console.note(f"{console.counted(done.jobs, 'job')} in {output}; brought {what}")
    return 0
