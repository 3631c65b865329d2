"""The earlier Labs of a link of this project: the Labs that were built and those that ran."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from repx import whole
from repx.lab import record as records

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_MOST: Final = 20


def before(link: Path) -> Path | None:
    """Return the Lab to compare with: the last other Lab that was run, else the last one built."""
    link = records.own(link)
    lab = records.target(link)
    if lab is None:
        return None
    for name in _earlier(link):
        place = link.parent / records.LABS / name
        if name != lab and place.is_dir():
            return place
    return None


def earlier_ids(link: Path) -> set[str]:
    """Return the ids of this project's Labs that were run and that no link names now."""
    ran = {name for each in _links(link) for name in _ran(each)}
    return {
        name.partition("-")[0] for name in ran - {records.target(each) for each in _links(link)}
    }


def others(link: Path) -> list[Path]:
    """Return the other links of this project that name a Lab."""
    return [each for each in _links(link) if each.name != link.name and records.target(each)]


def _links(link: Path) -> list[Path]:
    known = (link.parent / records.HOME / "ran").glob("*.json")
    return [link.with_name(path.stem) for path in sorted(known)]


def note_run(link: Path) -> None:
    """Record that the Lab behind a link is run; ignore a record that cannot be written."""
    link = records.own(link)
    lab = records.target(link)
    ran = _ran(link)
    if lab is not None and ran[:1] != [lab]:
        kept = [lab, *(name for name in ran if name != lab)][:_MOST]
        records.write_beside(_place(link), json.dumps(kept))


def _earlier(link: Path) -> Iterator[str]:
    yield from _ran(link)
    record = records.read(link)
    if record is not None and record.before is not None:
        yield record.before


def _ran(link: Path) -> list[str]:
    try:
        found = json.loads(whole.read(_place(link)))
    except (OSError, ValueError, RecursionError):
        return []
    names = found if isinstance(found, list) else []
    return [name for name in names if isinstance(name, str) and "/" not in name and name]


def _place(link: Path) -> Path:
    return link.parent / records.HOME / "ran" / f"{link.name}.json"
