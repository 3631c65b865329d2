"""`repx show`: one job explained, or the files it left."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from repx import console, select
from repx.cli import complete, explain
from repx.cli.context import group
from repx.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator

    from repx.cli.context import Context


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
    opened = context.open_lab()
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
    found = select.one_job(context.open_lab().lab, name)
    folder = Path(context.store().outputs(found)) / "out"
    if path is not None:
        _print(folder, path)
        return
    files = {str(each.relative_to(folder)): each.lstat().st_size for each in _files(folder)}
    if context.json:
        console.json({"job": found, "folder": str(folder), "files": files})
        return
    console.note(f"in {folder}")
    console.table(("size", "file"), ((console.size(size), each) for each, size in files.items()))
    if not files:
        console.note("no files yet" if not folder.exists() else "no files")


def _files(folder: Path) -> Iterator[Path]:
    """Yield all files below a folder, sorted; links are not followed."""
    for parent, folders, names in os.walk(folder):
        folders.sort()
        yield from (Path(parent, name) for name in sorted(names))


def _print(folder: Path, path: str) -> None:
    place = folder / path
    if ".." in place.parts or not place.is_relative_to(folder) or not place.is_file():
        files = (each.relative_to(folder) for each in _files(folder) if each.is_file())
        there = [console.plain(each) for each in files]
        known = f"there are: {', '.join(there[:10])}" if there else "the job has left no files yet"
        raise InputError(
            f"no output file '{path}' in {folder}", hint=did_you_mean(path, there) or known
        )
    with place.open("rb") as stream:
        sys.stdout.flush()
        shutil.copyfileobj(stream, sys.stdout.buffer)
        sys.stdout.buffer.flush()
