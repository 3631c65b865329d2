"""`repx connect`: authenticate at a target once, for all commands of a working day."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from repx import console, places
from repx.cli import complete
from repx.cli.context import command
from repx.config import targets
from repx.errors import InputError, RepxError
from repx.places.ssh import Ssh

if TYPE_CHECKING:
    from repx.cli.context import Context

_IDLE: Final = "12h"
_NOT_CONNECTED: Final = 3


@command(
    name="connect",
    examples="""
    repx connect cluster             authenticate once for many commands
    repx connect cluster --status    is there such a connection?
    repx connect cluster --close     end it
    """,
)
@click.argument("name", metavar="[TARGET]", required=False, shell_complete=complete.targets)
@click.option("--status", "status", is_flag=True, help="Say whether TARGET is connected; 3 if not.")
@click.option("--close", "close", is_flag=True, help="End the connection.")
def connect(context: Context, name: str | None, status: bool, close: bool) -> int:
    """Authenticate at TARGET once; until 12 hours without use, no command asks again.

    The connection is ssh's own (ControlMaster): it needs nothing of repx to stay, and no password
    is kept.
    """
    if status and close:
        raise InputError("--status and --close do not go together")
    target = targets.choose(context.targets(), name or context.target_name)
    place = places.of(target)
    if not isinstance(place, Ssh):
        raise InputError(
            f"target '{target.name}' is this machine: there is nothing to connect to",
            hint="a target on another machine has an `address:` in targets.yaml",
        )
    there = place.shared.is_open()
    if close:
        place.shared.close()
        console.note(
            f"{'closed the connection' if there else 'there was no connection'} to {place.name}"
        )
        there = False
    elif not status and not there:
        _open(place, target.name)
        there = True
    elif there:
        console.note(f"connected to {place.name}")
    else:
        console.note(f"not connected to {place.name}")
    if context.json:
        console.json({"target": target.name, "address": place.name, "connected": there})
    return _NOT_CONNECTED if status and not there else 0


def _open(place: Ssh, name: str) -> None:
    """Connect, and say how far that helps: the server may limit the sessions of a connection."""
    place.shared.open(_IDLE)
    sessions, said = place.shared.sessions()
    if sessions == 0:
        place.shared.close()
        raise RepxError(
            f"{place.name} ends a shared connection, or lets no command run over it"
            + (f": {said}" if said else ""),
            hint="ask its administrator for MaxSessions of at least 2 in sshd_config, and whether"
            " your account may run commands; else each command of repx authenticates by itself",
        )
    if sessions == 1:
        console.warn(
            f"{place.name} allows one command at a time over a connection (MaxSessions 1):"
            " a second one meanwhile authenticates by itself"
        )
    console.note(f"connected to {place.name}; `repx connect {name} --close` ends the connection")
