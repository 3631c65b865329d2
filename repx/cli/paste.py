"""Command lines of repx to paste: they mean the same Lab and target as this call does."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Final

import click

from repx.cli.context import DEFAULT_LAB, Context

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

ARGUMENTS: Final = "repx.arguments"  # in click's `meta`: the words of this call

_LOOKS_AT_A_LAB: Final = re.compile(
    r"`(repx (?:cancel|debug-run|list|log|pull|render|run|show|status|usage|viz)\b[^`]*)`"
)


def line(*words: str) -> str:
    """Return a command line of repx with the options of this call."""
    return f"repx {shlex.join(words)}{_options(words)}"


def again(*words: str, without: Collection[str]) -> str:
    """Return this call as it was typed, with more words and without some."""
    current = click.get_current_context(silent=True)
    typed: Sequence[str] = current.meta.get(ARGUMENTS, ()) if current else ()
    return shlex.join(["repx", *(word for word in typed if word not in without), *words])


def complete(text: str) -> str:
    """Return a text in which the commands of repx, in backquotes, have the options of this call."""
    return _LOOKS_AT_A_LAB.sub(lambda found: f"`{found[1]}{_options(found[1].split())}`", text)


def _options(words: Collection[str]) -> str:
    """Return the options of this call that a command lacks."""
    current = click.get_current_context(silent=True)
    context = (current and current.find_object(Context)) or Context()
    given = (
        ("-l", context.lab_path if context.lab_path != DEFAULT_LAB else None),
        ("--target", context.target_name),
        ("--targets", context.targets_file),
    )
    return "".join(
        f" {name} {shlex.quote(str(value))}" for name, value in given if value and name not in words
    )
