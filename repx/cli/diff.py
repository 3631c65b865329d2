"""`repx diff`: which jobs one Lab has and another has not, and why."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from repx import console
from repx.cli import reasons
from repx.cli.context import command
from repx.errors import InputError
from repx.lab import compare, history, record
from repx.lab.load import open_lab

if TYPE_CHECKING:
    from repx.cli.context import Context


@command(
    name="diff",
    examples="""
        repx diff                            # the Lab before, and ./result
        repx diff 0m9x3c                     # a Lab of this project, by its id
        repx diff old/result new/result      # any two
        """,
)
@click.argument("old", required=False, metavar="[LAB]")
@click.argument("new", required=False, metavar="[LAB]")
def diff(context: Context, old: str | None, new: str | None) -> None:
    """Say which jobs a Lab has that the Lab before had not, and why.

    Without LAB, ./result is compared with the last other Lab of this project that was run, else
    with the one that was built before. With one LAB, ./result is compared with that one.
    """
    link = context.lab_path
    if new is None:
        context.lab_to_look_at()
    before = compare.Side(opened=open_lab(_before(link) if old is None else _named(link, old)))
    after = compare.Side(opened=open_lab(link if new is None else _named(link, new)))
    fresh = [job for run in after.lab.runs.values() for job in run.jobs]
    groups = compare.grouped(after.lab, compare.reasons(before, after, fresh))
    gone = compare.gone(before.lab, after.lab)
    if context.json:
        console.json(
            {
                "old": before.lab.id,
                "new": after.lab.id,
                "added": reasons.document(groups),
                "gone": dict(gone),
                "unchanged": sum(job in before.lab.jobs for job in after.lab.jobs),
            }
        )
        return
    reasons.show(groups)
    _tell(before, after, sum(gone.values()))


def _tell(before: compare.Side, after: compare.Side, gone: int) -> None:
    kept = sum(job in before.lab.jobs for job in after.lab.jobs)
    counts = ((len(after.lab.jobs) - kept, "new"), (gone, "gone"), (kept, "unchanged"))
    counted = ", ".join(
        f"{console.counted(count, 'job')} {words}" for count, words in counts if count
    )
    console.note(f"Lab {before.lab.id[:12]} → Lab {after.lab.id[:12]}: {counted or 'no jobs'}")


def _before(link: Path) -> Path:
    found = history.before(link)
    if found is None:
        raise InputError(
            f"no Lab before {link} is known", hint="name the Lab to compare with: repx diff LAB"
        )
    return found


def _named(link: Path, word: str) -> Path:
    """Return the Lab that a word means: a path, or the beginning of an id in this project."""
    if Path(word).exists():
        return Path(word)
    labs = [lab for lab in sorted((link.parent / record.LABS).glob("*")) if lab.is_dir()]
    found = [lab for lab in labs if word and lab.name.startswith(word)]
    if len(found) == 1:
        return found[0]
    known = ", ".join(lab.name[:12] for lab in (found or labs)[:5])
    problem = f"{len(found)} Labs begin with '{word}'" if found else f"no Lab '{word}'"
    raise InputError(problem, hint=f"there are: {known}" if known else "name the path of a Lab")
