"""Where results may come from instead of being computed: archives, and stores of other targets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from repx import archive, pulling, seen, stale
from repx import store as stores
from repx.brought import Brought, Found
from repx.errors import InputError, did_you_mean
from repx.places import carry
from repx.store import SUCCESS, as_object

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from repx.brought import Source
    from repx.model import JobId, Lab
    from repx.store import Store
    from repx.target import Target


@dataclass(frozen=True, slots=True)
class OtherTarget:
    """The store of another target. Stale results, and jobs that run again there, do not count."""

    name: str
    store: Store
    lab: Lab

    def has(self, jobs: Collection[JobId]) -> dict[JobId, Found]:
        """Return those of the jobs that have succeeded there, in three round trips at most."""
        store = seen.look(self.store, jobs)
        done = [job for job, name in store.markers(jobs).items() if name == SUCCESS]
        old = stale.culprits(store, self.lab, done)
        free = [job for job in done if job not in old]
        keys = {f"outputs/{job}/repx/{SUCCESS}": job for job in free}
        texts = store.read_many(list(keys))
        return {keys[key]: _made(as_object(text)) for key, text in texts.items()}

    def bring(self, found: Mapping[JobId, Found], target: Store) -> Brought:
        """Bring results; the files go from there through this machine."""
        jobs = list(found)
        _, size, passed = pulling.bring(
            self.store, target, jobs, carry.NEW, made=(self.name, found)
        )
        came = tuple(job for job in jobs if job not in passed)
        return Brought(jobs=came, size_bytes=size, passed=tuple(passed))


def _made(marker: Mapping[str, object]) -> Found:
    """Return what a success says of who made it."""
    return Found.of({"host": marker.get("host"), "at": marker.get("end")})


def named(word: str, targets: Mapping[str, Target], lab: Lab, target: Target) -> Source:
    """Return what a person means by the name of a target, a folder, or a URL.

    Raises InputError for a word that is none of these, or the target itself.
    """
    if word == target.name:
        raise InputError(
            f"--from {word} is the target itself", hint="name another target, or an archive"
        )
    if word in targets:
        return OtherTarget(word, stores.of(targets[word]), lab)
    if "://" not in word and "/" not in word and not Path(word).exists():
        hint = did_you_mean(word, targets) or "write a path with /, or a URL"
        raise InputError(f"no target and no folder is named '{word}'", hint=hint)
    return archive.of(word, target.ssh_config)


def caches(target: Target) -> list[Source]:
    """Return the archives that a profile names. Raises StorageError for one that cannot be."""
    return [archive.of(url, target.ssh_config) for url in target.cache]
