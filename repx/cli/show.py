"""`repx show`: one job explained, or the files it left."""

from __future__ import annotations

import posixpath
import sys
from typing import TYPE_CHECKING

import click

from repx import console, select
from repx.cli import complete, explain
from repx.cli.context import group
from repx.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from repx.cli.context import Context
    from repx.store import Store


@group(
    examples="""
        repx show job 3k9x2m                 # a job, by the beginning of its id
        repx show output 3k9x2m result.csv
        """
)
def show(context: Context) -> None:
    """Explain one job, or show its output files."""
    del context


@show.command(
    examples="""
        repx show job 3k9x2m
        repx show job report --target cluster  # and what Slurm would be asked
        repx show job 3k9x2m --json | jq .resources
        """
)
@click.argument("name", metavar="JOB", shell_complete=complete.one_job)
@click.pass_obj
def job(context: Context, /, name: str) -> None:
    """Explain one job and what it asks for.

    State, parameters, resources and where each came from, what Slurm would be asked, inputs,
    outputs, logs. JOB is a job id, a unique beginning of one, or a run that ends in one job.
    """
    opened = context.lab_to_look_at()
    target, found = context.target(), select.one_job(opened.lab, name)
    subject = explain.Subject(
        opened=opened,
        job=opened.lab.jobs[found],
        store=context.store(),
        target=target,
        said=context.states(opened.lab)[found],
        resources=context.resources_of(opened.lab, target),
    )
    document = explain.document(subject)
    if context.json:
        console.json(document)
    else:
        console.out("\n".join(explain.lines(document)))


@show.command(
    examples="""
        repx show output 3k9x2m              # which files
        repx show output 3k9x2m result.csv | head
        repx show output report --json
        """
)
@click.argument("name", metavar="JOB", shell_complete=complete.one_job)
@click.argument("path", required=False)
@click.pass_obj
def output(context: Context, /, name: str, path: str | None) -> None:
    """List the files a job left, or print one.

    PATH is relative to the job's output folder. It is printed as it is, for pipes.
    """
    found = select.one_job(context.lab_to_look_at().lab, name)
    store = context.store()
    home = f"outputs/{found}/out"
    if path is not None:
        _print(store, home, path)
        return
    files = _files(store, home)
    if context.json:
        console.json({"job": found, "folder": store.path(home), "files": files})
        return
    console.note(f"in {store.path(home)}")
    console.table(("size", "file"), ((console.size(size), each) for each, size in files.items()))
    if not files:
        console.note("no files" if store.exists(home) else "no files yet")


def _files(store: Store, home: str) -> dict[str, int]:
    """Return the size of every file below a folder by its path there, sorted."""
    return {key.removeprefix(f"{home}/"): size for key, size in store.sizes(home).items()}


def _print(store: Store, home: str, path: str) -> None:
    kinds = store.files.kinds([f"{home}/{each}" for each in _files(store, home)])
    files = (key.removeprefix(f"{home}/") for key, (kind, _) in kinds.items() if kind == "file")
    there = [console.plain(each) for each in files]
    if posixpath.normpath(path) not in there:
        known = f"there are: {', '.join(there[:10])}" if there else "the job has left no files yet"
        raise InputError(
            f"no output file '{path}' in {store.path(home)}",
            hint=did_you_mean(path, there) or known,
        )
    sys.stdout.flush()
    for chunk in store.chunks(f"{home}/{path}"):
        sys.stdout.buffer.write(chunk)
    sys.stdout.buffer.flush()
