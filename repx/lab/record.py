"""The record of a Lab's build, kept beside the Lab: `.repx/built/<link>.json`."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from repx import whole
from repx.lab.seen import Seen

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

HOME: Final = ".repx"
LABS: Final = f"{HOME}/labs"
_VERSION: Final = 1
_MOST_LINKS: Final = 40

Listing: TypeAlias = tuple[str, str]  # "files" or "dirs" with a pattern, or "below" with a folder


class Record(NamedTuple):
    """One build. ``files`` and ``listings`` are all its inputs, relative to ``source``.

    ``lab`` is the folder's name below ``.repx/labs``, ``repx`` the version that built the Lab,
    ``before`` the Lab that the link named before.
    """

    lab: str
    lab_id: str
    repx: str
    source: str
    files: Mapping[str, Seen]
    listings: Mapping[Listing, tuple[str, ...]]
    before: str | None = None


def target(link: Path) -> str | None:
    """Return the Lab of this project that a link names, None if there is none."""
    try:
        folder, _, name = os.readlink(link).rpartition("/")  # noqa: PTH115  # keeps it as it is
    except OSError:
        return None
    return name if folder == LABS else None


def own(link: Path) -> Path:
    """Return the link made by `repx build` to which ``link`` leads, else ``link`` itself."""
    found = link
    for _ in range(_MOST_LINKS):
        if target(found) is not None:
            return found
        try:
            found = found.parent / os.readlink(found)  # noqa: PTH115  # keeps it as it is
        except OSError:
            break
    return link


def read(link: Path) -> Record | None:
    """Return the record of the Lab behind a link, None if there is none.

    The record of a renamed link is found by its Lab.
    """
    lab = target(link)
    if lab is None:
        return None
    place = _place(link)
    found = _read(place)
    if found is not None and found.lab == lab:
        return found
    others = map(_read, sorted(place.parent.glob("*.json")))
    return next((each for each in others if each is not None and each.lab == lab), None)


def _read(place: Path) -> Record | None:
    try:
        return _made(json.loads(whole.read(place)))
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None


def write(link: Path, record: Record) -> None:
    """Write a record. If it cannot be written, later changes are not noticed."""
    document = {
        "version": _VERSION,
        "lab": record.lab,
        "lab_id": record.lab_id,
        "repx": record.repx,
        "source": record.source,
        "before": record.before,
        "files": {
            name: [one.stamp, one.sha256, one.executable] for name, one in record.files.items()
        },
        "listings": [[*key, *names] for key, names in record.listings.items()],
    }
    write_beside(_place(link), json.dumps(document))


def write_beside(place: Path, text: str) -> None:
    """Write a small file atomically; ignore a file that cannot be written."""
    with suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        whole.write(place, text)


def _place(link: Path) -> Path:
    return link.parent / HOME / "built" / f"{link.name}.json"


def _made(document: Any) -> Record:  # noqa: ANN401  # JSON; what is odd raises
    if document["version"] != _VERSION:
        raise ValueError(document["version"])
    return Record(
        lab=str(document["lab"]),
        lab_id=str(document["lab_id"]),
        repx=str(document["repx"]),
        source=str(document["source"]),
        before=None if document["before"] is None else str(document["before"]),
        files={
            name: Seen(None if stamp is None else tuple(stamp), str(sha256), bool(executable))
            for name, (stamp, sha256, executable) in document["files"].items()
        },
        listings={(kind, where): tuple(names) for kind, where, *names in document["listings"]},
    )
