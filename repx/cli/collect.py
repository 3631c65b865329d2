"""``repx gc``: free the space that images take on nodes."""

from __future__ import annotations

import shlex
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

import click

from repx import console
from repx.cli.context import command
from repx.errors import CommandError, InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from repx.cli.context import Context
    from repx.target import Target

_LONGEST_S: Final = 4 * 3600
_FIELDS: Final = 6
_GOING: Final = ("removed", "would be removed")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """One image on one node: what holds it, and what was done with it."""

    host: str
    holder: str
    image: str
    size_bytes: int
    unused_s: int
    done: str


@command(
    name="gc",
    examples="""
    repx gc --images                        what no job used for 30 days
    repx gc --images --unused-for 2d -n     what would go
    repx gc --images --target cluster --via "srun --nodelist=n[1-4]"
    """,
)
@click.option("--images", is_flag=True, help="Images that were unpacked or loaded on nodes.")
@click.option(
    "--unused-for",
    metavar="TIME",
    default="30d",
    show_default=True,
    help="Keep what was used within this time; 0 keeps nothing.",
)
@click.option("-n", "--dry-run", is_flag=True, help="Say what would be removed; remove nothing.")
@click.option(
    "--via",
    metavar="COMMAND",
    default="",
    help="The command that runs a script on the nodes, e.g. srun.",
)
def gc(context: Context, *, images: bool, unused_for: str, dry_run: bool, via: str) -> int:
    """Remove images from nodes: unpacked folders, and what podman and docker loaded.

    An image goes when no job used it for a time, or when the store no longer has it. What a
    submission that has not ended may need stays. Jobs unpack again what they need.
    """
    from repx.config.units import parse_time

    if not images:
        raise InputError("name what to remove", hint="`repx gc --images` removes images of nodes")
    age_s = 0 if unused_for == "0" else parse_time(unused_for)
    found = sorted(
        _collected(context.target(), age_s, via, dry_run=dry_run),
        key=lambda each: (each.host, each.holder, each.image),
    )
    if context.json:
        console.json([asdict(each) for each in found])
        return 0
    headers = ("node", "in", "image", "size", "unused", "what")
    console.table(headers, [_row(each) for each in found])
    going = sum(each.size_bytes for each in found if each.done in _GOING)
    console.note(f"{console.size(going)} {'would be ' if dry_run else ''}freed")
    return 0


def _row(each: _Found) -> tuple[str, ...]:
    unused = f"{each.unused_s // 86400}d" if each.unused_s >= 86400 else f"{each.unused_s}s"  # noqa: PLR2004
    size = console.size(each.size_bytes)
    return (each.host, each.holder, each.image[:12], size, unused, each.done)


def _collected(target: Target, age_s: int, via: str, *, dry_run: bool) -> Iterator[_Found]:
    """Run the script on each node, and yield what it says. Raises CommandError."""
    from repx import assets, places
    from repx.runtimes.rooms import node_folder

    place = places.of(target)
    target = place.settled(target)
    script = assets.path("templates/collect-images.sh").read_text(encoding="utf-8")
    words = [*_words(via), "bash", "-c", script, "repx-gc", target.base_path, node_folder(target)]
    done = place.run([*words, str(age_s), "n" if dry_run else ""], timeout_s=_LONGEST_S)
    for line in done.stdout.splitlines():
        fields = line.split("\t")
        if len(fields) != _FIELDS or not (fields[3] + fields[4]).lstrip("-").isdigit():
            raise CommandError(words[:1], done.code, f"it said: {line}")
        host, holder, image, kib, unused, what = fields
        yield _Found(
            host=host,
            holder=holder,
            image=image,
            size_bytes=int(kib) * 1024,
            unused_s=int(unused),
            done=what,
        )


def _words(via: str) -> list[str]:
    try:
        return shlex.split(via)
    except ValueError as error:
        raise InputError(f"--via: {error}") from error
