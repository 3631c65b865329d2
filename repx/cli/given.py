"""Which jobs were given to which target, remembered on this machine: another one may take them."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING

from repx import console, whole
from repx.cli import paste
from repx.config import xdg

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from repx.cli.context import Context
    from repx.model import JobId
    from repx.target import Target


def note(context: Context, target: Target, jobs: Iterable[JobId]) -> None:
    """Remember jobs that a target has done or was given, where there are several targets."""
    file = _file(target)
    if file is None or len(context.targets().profiles) < 2:  # noqa: PLR2004
        return
    before = _read(file)
    after = before.union(map(_short, jobs))
    if after == before:
        return
    with suppress(OSError):  # a hint less
        file.parent.mkdir(parents=True, exist_ok=True)
        whole.write(file, "".join(f"{each}\n" for each in sorted(after)))


def hint(context: Context, target: Target, jobs: Iterable[JobId]) -> None:
    """Say in one line if another target was given some of these jobs before."""
    if context.source_word is not None:
        return
    wanted = {_short(job) for job in jobs}
    counts = Counter[str]()
    for name, other in context.targets().profiles.items():
        if wanted and name != target.name and (file := _file(other)) is not None:
            counts[name] = len(wanted & _read(file))
    for name, count in counts.most_common(1):
        if count:
            given = f"{count} of these {len(wanted)} jobs went to '{name}' before"
            again = paste.again("--from", name, without=("-n", "--dry-run"))
            console.note(f"hint: {given}: `{again}` brings what has succeeded there")


def _file(target: Target) -> Path | None:
    folder = xdg.state(os.environ)
    place = f"{target.address or ''}:{target.base_path}"
    return folder and folder / "given" / hashlib.sha256(place.encode()).hexdigest()[:16]


def _read(file: Path) -> set[str]:
    try:
        return set(whole.read(file).decode().split())
    except (OSError, ValueError):
        return set()


def _short(job: JobId) -> str:
    """Return enough of an id to know the job again."""
    return job.partition("-")[0][:16]
