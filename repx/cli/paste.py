"""Command lines of repx to paste: they mean the same Lab and target as this call does."""

from __future__ import annotations

import re
import shlex
from typing import Final

import click

from repx.cli.context import DEFAULT_LAB, Context

_LOOKS_AT_A_LAB: Final = re.compile(
    r"`(repx (?:cancel|debug-run|list|log|pull|render|run|show|status|usage|viz)\b[^`]*)`"
)


def line(*words: str) -> str:
    """Return a command line of repx with the options of this call."""
    return f"repx {shlex.join(words)}{_options()}"


def complete(text: str) -> str:
    """Return a text in which the commands of repx, in backquotes, have the options of this call."""
    options = _options()
    return _LOOKS_AT_A_LAB.sub(rf"`\1{options}`", text) if options else text


def _options() -> str:
    current = click.get_current_context(silent=True)
    context = (current and current.find_object(Context)) or Context()
    given = (
        ("-l", context.lab_path if context.lab_path != DEFAULT_LAB else None),
        ("--target", context.target_name),
        ("--targets", context.targets_file),
    )
    return "".join(f" {name} {shlex.quote(str(value))}" for name, value in given if value)
