"""`repx push`: add results to an archive that others pull from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from repx import archive, console, select
from repx.cli import complete
from repx.cli.context import command
from repx.store import SUCCESS

if TYPE_CHECKING:
    from repx.cli.context import Context


@command(
    name="push",
    examples="""
    repx push --to /data/shared/results       all results, to a shared folder
    repx push training --to s3://lab/results  one run, to a bucket
    repx push --to ssh://host/data/results    over your own ssh
    """,
)
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=complete.names)
@click.option(
    "--to", "url", required=True, metavar="URL", help="A folder, a zip, or a URL of fsspec."
)
def push(context: Context, names: tuple[str, ...], url: str) -> int:
    """Add the results of jobs that have succeeded to an archive.

    Names are runs, groups (@name), job ids or unique beginnings of one; none means every run.
    What the archive has already stays as it is. `repx pull --from URL` brings it elsewhere.
    """
    lab = context.open_lab().lab
    store = context.store()
    found = store.markers(select.jobs(lab, names))
    done = [job for job, name in found.items() if name == SUCCESS]
    there = archive.of(url, context.target().ssh_config)
    known = there.has(done)
    new = [job for job in done if job not in known]
    size = there.put(new, store) if new else 0
    if context.json:
        console.json({"jobs": len(done), "pushed": new, "bytes": size})
        return 0
    what = f"added {console.counted(len(new), 'job')}, {console.size(size)}"
    console.note(f"{console.counted(len(done), 'job')} in {url}; {what}")
    return 0
