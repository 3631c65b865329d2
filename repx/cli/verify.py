"""`repx verify`: whether every file of the Lab is what it was built with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from repx import console
from repx.cli.context import command

if TYPE_CHECKING:
    from repx.cli.context import Context


@command(
    examples="""
        repx verify
        repx verify --lab copied-from-the-cluster.tar
        """
)
def verify(context: Context) -> None:
    """Read every file of the Lab and compare it with its checksum.

    `repx run` does so once for each Lab and again only when its files change.
    """
    opened = context.open_lab()
    verdict = context.verify(opened, full=True)
    if context.json:
        console.json({"lab": opened.lab.id, "listed": verdict.listed, "hashed": verdict.hashed})
    else:
        console.out(f"{verdict.listed} files are what the Lab {opened.lab.id} was built with")
