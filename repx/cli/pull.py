"""`repx pull`: bring results from a target or an archive."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from repx import console, gone, pulling, select
from repx import store as stores
from repx.cli import complete, where
from repx.cli.context import command
from repx.errors import InputError, StorageError
from repx.pulling import Pulled
from repx.store import SUCCESS

if TYPE_CHECKING:
    from collections.abc import Collection

    from repx.brought import Source
    from repx.cli.context import Context
    from repx.model import JobId
    from repx.store import Store

_FOLDER: Final = Path("pulled")
_SHOWN: Final = 5


@command(
    name="pull",
    examples="""
    repx pull --target cluster            all results, to ./pulled
    repx pull training -o results         one run, to a folder of your own
    repx pull 3k9x2m --outputs '*.csv'    only some files of one job
    repx pull --where lr=0.1              only jobs with this parameter
    repx pull --from /data/shared/results what others pushed, into the target
    repx pull --from cluster --target laptop  from one target into another
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
@click.option("--outputs", metavar="PATTERN", help="Only output files that match, e.g. '*.csv'.")
@click.option(
    "--where",
    "conditions",
    multiple=True,
    metavar="NAME=VALUE",
    help="Only jobs with this parameter, also one of an upstream job. Repeatable.",
)
@click.option(
    "--from",
    "source",
    metavar="TARGET|URL",
    help="Another target, or an archive: a folder, a zip, or a URL of fsspec.",
)
def pull(
    context: Context,
    names: tuple[str, ...],
    output: Path | None,
    outputs: str | None,
    conditions: tuple[str, ...],
    source: str | None,
) -> int:
    """Bring the results of jobs that have succeeded to this machine, or from an archive.

    Names are runs, groups (@name), job ids or unique beginnings of one; none means every run.
    What is there already is not sent again; of a file that was broken off the rest is. DIR is a
    store: `Lab.from_path("result", store="DIR")` reads it, and so does a target whose `base_path`
    it is.
    """
    if source is not None and outputs is not None:
        raise InputError("--from and --outputs exclude each other", hint="pull whole jobs")
    lab = context.open_lab().lab
    jobs = where.chosen(lab, select.jobs(lab, names), conditions)
    if source is None:
        target = stores.local(str((output or _FOLDER).absolute()))
        again = gone.outputs(target, (lab.jobs[job] for job in jobs))
        done = pulling.pull(context.store(), target, jobs, outputs, again)
    else:
        target = context.store() if output is None else stores.local(str(output.absolute()))
        done = _from_elsewhere(context.source(source, lab), target, jobs)
    if context.json:
        console.json({"jobs": done.jobs, "files": done.files, "bytes": done.size_bytes})
        return 0
    _tell(done, target, source, outputs)
    return 0


def _tell(done: Pulled, target: Store, source: str | None, outputs: str | None) -> None:
    what = f"{console.counted(done.files, 'file' if source is None else 'job')}"
    console.note(
        f"{console.counted(done.jobs, 'job')} in {target.root}; brought {what}, "
        f"{console.size(done.size_bytes)}"
    )
    if done.changed:
        jobs = console.counted(len(done.changed), "job")
        console.warn(f"{jobs} ran again meanwhile: not complete here; pull again")
    if not done.matched:
        console.warn(f"no output file matches '{outputs}': a pattern means paths below `out`")
    if done.passed:
        console.warn(
            f"{console.counted(len(done.passed), 'job')} run in {target.root}: not brought"
        )


def _from_elsewhere(source: Source, target: Store, jobs: Collection[JobId]) -> Pulled:
    """Bring what a source has of the jobs that have not succeeded at the target."""
    done = {job for job, name in target.markers(jobs).items() if name == SUCCESS}
    found = source.has([job for job in jobs if job not in done])
    came = source.bring(found, target)
    if makers := sorted({each.by for job, each in found.items() if job in came.jobs and each.by}):
        console.note(f"made by {', '.join(makers)}")
    for job, why in list(came.broken.items())[:_SHOWN]:
        console.warn(f"{source.name}: job {job}: {why}")
    if came.broken:
        raise StorageError(
            f"{console.counted(len(came.broken), 'job')} could not be brought from {source.name}",
            hint="who pushed them replaces them: repx push --force JOB --to URL; or: repx run",
        )
    if came.left:
        raise StorageError(
            f"{came.problem}; {console.counted(len(came.left), 'job')} not brought",
            hint="the same command continues where this one stopped",
        )
    return Pulled(
        jobs=len(done) + len(came.jobs),
        files=len(came.jobs),
        size_bytes=came.size_bytes,
        passed=came.passed,
    )
