"""The line of the user's own that an error of a job's program means."""

from __future__ import annotations

import click

from repx import console
from repx.cli.context import Context
from repx.lab import origin


def line(text: str) -> str | None:
    """Return where in the project the last place in a program's words is, as FILE:LINE."""
    current = click.get_current_context(silent=True)
    context = current.find_object(Context) if current else None
    found = origin.of(text, context.lab_path) if context else None
    return found and console.plain(found)
