"""`repx push`: add results to an archive that others pull from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from repx import archive, console, gone, select, stale
from repx.archive import Added
from repx.cli import complete
from repx.cli.context import command
from repx.errors import StorageError
from repx.store import SUCCESS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from repx.cli.context import Context
    from repx.model import JobId, Lab
    from repx.store import Store

_SHOWN: Final = 5


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
    "--force",
    is_flag=True,
    help="Also replace what the archive has already, e.g. if it is damaged.",
)
@click.option(
    "--to", "url", required=True, metavar="URL", help="A folder, a zip, or a URL of fsspec."
)
def push(context: Context, names: tuple[str, ...], url: str, force: bool) -> int:
    """Add the results of jobs that have succeeded to an archive.

    Names are runs, groups (@name), job ids or unique beginnings of one; none means every run.
    What the archive has already stays as it is. `repx pull --from URL` brings it elsewhere.
    """
    lab = context.open_lab().lab
    store = context.store()
    there = archive.of(url, context.target().ssh_config)
    done = _sound(lab, store, select.jobs(lab, names))
    known = () if force else there.has(done)
    new = [job for job in done if job not in known]
    added = there.put(new, store, replace=force) if new else Added()
    _tell(url, added, len(done), as_json=context.json)
    if added.refused:
        raise StorageError(
            f"{console.counted(len(added.refused), 'job')} could not be added to {url}",
            hint="ask who added them first, or the owner of the archive, to remove these files",
        )
    return 0


def _sound(lab: Lab, store: Store, jobs: Sequence[JobId]) -> list[JobId]:
    """Return the jobs that have succeeded and whose results are what a run would use."""
    found = store.markers(jobs)
    done = [job for job, name in found.items() if name == SUCCESS]
    old = stale.culprits(store, lab, done)
    lost = gone.outputs(store, (lab.jobs[job] for job in done if job not in old))
    for count, why in ((len(old), "results are stale"), (len(lost), "outputs were deleted")):
        if count:
            console.warn(
                f"{console.counted(count, 'job')} not pushed: {why}; `repx run -n` says more"
            )
    return [job for job in done if job not in old and job not in lost]


def _tell(url: str, added: Added, done: int, *, as_json: bool) -> None:
    for job, why in list(added.refused.items())[:_SHOWN]:
        console.warn(f"job {job}: {why}")
    if as_json:
        document = {"jobs": done, "pushed": list(added.jobs), "bytes": added.size_bytes}
        console.json({**document, "refused": dict(added.refused)})
        return
    what = f"added {console.counted(len(added.jobs), 'job')}, {console.size(added.size_bytes)}"
    console.note(f"{console.counted(done - len(added.refused), 'job')} in {url}; {what}")
