"""`repx pull`: bring results from a target or an archive."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from repx import archive, console, progress, pulling, select
from repx import store as stores
from repx.cli import complete, where
from repx.cli.context import command
from repx.errors import InputError
from repx.pulling import Pulled
from repx.store import SUCCESS

if TYPE_CHECKING:
    from collections.abc import Collection

    from repx.cli.context import Context
    from repx.model import JobId
    from repx.store import Store

_FOLDER: Final = Path("pulled")


@command(
    name="pull",
    examples="""
    repx pull --target cluster            all results, to ./pulled
    repx pull training -o results         one run, to a folder of your own
    repx pull 3k9x2m --outputs '*.csv'    only some files of one job
    repx pull --where lr=0.1              only jobs with this parameter
    repx pull --from /data/shared/results what others pushed, into the target
    """,
)
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=complete.names)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="The store to bring them to.  [default: ./pulled; with --from, the target's]",
)
@click.option("--outputs", metavar="PATTERN", help="Only output files like this: '*.csv'.")
@click.option(
    "--where",
    "conditions",
    multiple=True,
    metavar="NAME=VALUE",
    help="Only jobs with this parameter, also one of an upstream job. Repeatable.",
)
@click.option("--from", "url", metavar="URL", help="An archive: a folder, or a URL of fsspec.")
def pull(
    context: Context,
    names: tuple[str, ...],
    output: Path | None,
    outputs: str | None,
    conditions: tuple[str, ...],
    url: str | None,
) -> int:
    """Bring the results of jobs that have succeeded to this machine, or from an archive.

    Names are runs, groups (@name), job ids or unique beginnings of one; none means every run.
    What is there already is not sent again. DIR is a store: `Lab.from_path("result", store="DIR")`
    reads it, and so does a target whose `base_path` it is.
    """
    if url is not None and outputs is not None:
        raise InputError("--from and --outputs exclude each other", hint="pull whole jobs")
    lab = context.open_lab().lab
    jobs = where.chosen(lab, select.jobs(lab, names), conditions)
    if url is None:
        target = stores.local(str((output or _FOLDER).absolute()))
        done = pulling.pull(context.store(), target, jobs, outputs)
    else:
        target = context.store() if output is None else stores.local(str(output.absolute()))
        done = _from_archive(url, target, jobs)
    if context.json:
        console.json({"jobs": done.jobs, "files": done.files, "bytes": done.size_bytes})
        return 0
    what = f"{console.counted(done.files, 'file' if url is None else 'job')}"
    console.note(
        f"{console.counted(done.jobs, 'job')} in {target.root}; brought {what}, "
        f"{console.size(done.size_bytes)}"
    )
    return 0


def _from_archive(url: str, target: Store, jobs: Collection[JobId]) -> Pulled:
    """Bring what an archive has of the jobs that have not succeeded at the target."""
    kept = archive.of(url)
    done = {job for job, name in target.markers(jobs).items() if name == SUCCESS}
    entries = kept.has([job for job in jobs if job not in done])
    makers = sorted({str(entry.get("by") or "somebody") for entry in entries.values()})
    size = sum(
        kept.get(job, entries[job], target) for job in progress.through(entries, "pulling jobs:")
    )
    if makers:
        console.note(f"pushed by {', '.join(makers)}")
    return Pulled(jobs=len(done) + len(entries), files=len(entries), size_bytes=size)
