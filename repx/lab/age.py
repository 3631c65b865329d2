"""Whether a Lab is older than its definition; only files that look changed are hashed."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from repx import __version__
from repx.lab import record as records
from repx.lab.seen import Looks, same

if TYPE_CHECKING:
    from collections.abc import Iterator

    from repx.lab.record import Listing, Record

log = logging.getLogger(__name__)

_NIX_STORE: Final = "/nix/store/"
_NAMED: Final = 3


class Age(NamedTuple):
    """What changed since a Lab was built from ``source``; ``broken``: ``source`` has mistakes now.

    ``source`` is None for a Lab that Nix built. A source that is gone has no ``changes``.
    """

    source: Path | None
    changes: tuple[str, ...]
    broken: bool = False

    @property
    def changed(self) -> str:
        """Return the changes in words, the first ones by name."""
        more = len(self.changes) - _NAMED
        return ", ".join(self.changes[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def of(link: Path) -> Age | None:
    """Return what changed since the Lab behind a link was built, None if nothing did.

    Also None where repx cannot know: `repx build` did not make the link, or what it was made from
    cannot be looked at.
    """
    record = records.read(link)
    try:
        return _by_nix(link) if record is None else _by_repx(link, record)
    except OSError as error:
        log.debug("cannot tell whether the Lab is older than its files: %s", error)
        return None


def _by_repx(link: Path, record: Record) -> Age | None:
    source = link.parent / record.source
    real = Path(os.path.realpath(source))
    looks = Looks(folder=real.parent, known=record.files)
    if not real.exists():
        return Age(source=source, changes=())
    changes = tuple(dict.fromkeys(_changes(record, looks, real.name)))
    if changes:
        return _confirmed(link, record, looks, changes)
    if any(record.files[name].stamp != seen.stamp for name, seen in looks.files.items()):
        records.write(link, record._replace(files=dict(looks.files)))
    return None


def _changes(record: Record, looks: Looks, definition: str) -> Iterator[str]:
    """Yield each change, in words, since the Lab was built."""
    if definition not in record.files:
        yield f"{definition} is another file"
    for name, before in record.files.items():
        try:
            if not same(looks.at(name), before):
                yield f"{name} changed"
        except OSError:
            yield f"{name} is gone"
    for listing, names in record.listings.items():
        now = _listed(looks, listing)
        if now is None:
            yield f"{listing[1]} changed"
        else:
            where = f"{listing[1]}/" if listing[0] == "below" else ""
            yield from (f"{where}{name} is new" for name in sorted({*now}.difference(names)))
            yield from (f"{where}{name} is gone" for name in sorted({*names}.difference(now)))


def _listed(looks: Looks, listing: Listing) -> tuple[str, ...] | None:
    """Return the files that a pattern or a folder gives now, None where that is a mistake."""
    from repx.lab.sources import SourceError, below, matches  # few definitions have listings

    kind, where = listing
    try:
        if kind == "below":
            return below(looks.folder / where)
        return matches(looks.folder, where, folders=kind == "dirs")
    except (SourceError, OSError):
        return None


def _confirmed(link: Path, record: Record, looks: Looks, changes: tuple[str, ...]) -> Age | None:
    """Return the age, None if the changes (a comment, say) leave the Lab's id the same."""
    from repx.errors import RepxError  # these imports and a build's checks take 0.2 s
    from repx.lab import assemble, definition, expand, lockfile
    from repx.lab.software.provision import Provider
    from repx.lab.sources import Sources

    source, sources = link.parent / record.source, Sources(looks=looks)
    try:
        described = definition.load(source)
        lock = lockfile.read(source)
        provisions = Provider(described, sources, lock, link.parent / records.HOME).there()
        if provisions is None:
            return Age(source=source, changes=changes)
        blueprint = assemble.blueprint_of(described, sources, provisions)
        described.stop()
        if lock.file.exists():
            looks.at(lock.file)
    except RepxError:
        return Age(source=source, changes=changes, broken=True)
    if record.repx != __version__ or expand.lab_id(blueprint) != record.lab_id:
        return Age(source=source, changes=changes)
    records.write(link, record._replace(files=looks.files, listings=sources.listings))
    return None


def _by_nix(link: Path) -> Age | None:
    """Return the files of Nix that changed after Nix made the link."""
    if not link.is_symlink() or not str(link.readlink()).startswith(_NIX_STORE):
        return None
    built_ns = link.lstat().st_mtime_ns
    files = (*sorted(link.parent.glob("*.nix")), link.parent / "flake.lock")
    changed = tuple(
        f"{file.name} changed"
        for file in files
        if file.is_file() and file.stat().st_mtime_ns > built_ns
    )
    return Age(source=None, changes=changed) if changed else None
