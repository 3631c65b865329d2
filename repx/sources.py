"""Sources of results that need not be computed: archives, and stores of other targets."""

from __future__ import annotations

import logging
import shlex
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from repx import archive, gone, pulling, seen, stale
from repx import store as stores
from repx.brought import Brought, Found
from repx.errors import InputError, RepxError, did_you_mean
from repx.places import carry
from repx.store import SUCCESS, as_object

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from repx.brought import Source
    from repx.model import JobId, Lab
    from repx.store import Store
    from repx.target import Target

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class OtherTarget:
    """The store of another target, without stale or incomplete results and jobs that run there."""

    name: str
    store: Store
    lab: Lab

    def has(self, jobs: Collection[JobId]) -> dict[JobId, Found]:
        """Return the jobs that have succeeded there and have all outputs, in few round trips."""
        store = seen.look(self.store, jobs)
        done = [job for job, name in store.markers(jobs).items() if name == SUCCESS]
        old = stale.culprits(store, self.lab, done)
        lost = gone.outputs(store, (self.lab.jobs[job] for job in done if job not in old))
        free = [job for job in done if job not in old and job not in lost]
        keys = {f"outputs/{job}/repx/{SUCCESS}": job for job in free}
        texts = store.read_many(list(keys))
        return {keys[key]: _made(as_object(text)) for key, text in texts.items()}

    def bring(self, found: Mapping[JobId, Found], target: Store) -> Brought:
        """Copy results; the files go through this machine."""
        jobs = list(found)
        _, size, passed = pulling.bring(
            self.store, target, jobs, carry.NEW, made=(self.name, found)
        )
        came = tuple(job for job in jobs if job not in passed)
        return Brought(jobs=came, size_bytes=size, passed=tuple(passed))


def _made(marker: Mapping[str, object]) -> Found:
    """Return the host and the time of a success."""
    return Found.of({"host": marker.get("host"), "at": marker.get("end")})


def named(word: str, targets: Mapping[str, Target], lab: Lab, target: Target) -> Source:
    """Return the source that a word names: a target, a folder, or a URL.

    Raises InputError for any other word, or for the target itself.
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
    found = archive.of(word, target.ssh_config)
    if not found.exists():
        hint = f"correct the name; or, to make one: repx push --to {shlex.quote(word)}"
        raise InputError(f"there is no archive at {word}", hint=hint)
    return found


class Supply:
    """The results that can be fetched instead of computed, with their sources. Mutable.

    Asks for each job once; does not offer a job again after its results could not be fetched.
    """

    def __init__(self, caches: Sequence[Source], named: Source | None = None) -> None:
        """Ask ``named`` first, which must answer; skip a cache that does not answer."""
        self._named = named
        self._caches = caches
        self._asked: set[JobId] = set()
        self._found: dict[JobId, tuple[Source, Found]] = {}

    def reasons(self, jobs: Collection[JobId]) -> dict[JobId, str]:
        """Return the jobs that can be fetched, each with its source in words."""
        new = [job for job in jobs if job not in self._asked]
        self._asked.update(new)
        if new and self._named is not None:
            with way_out(self._named.name):
                self._take(self._named, self._named.has(new))
        for cache in self._caches:
            left = [job for job in new if job not in self._found]
            try:
                self._take(cache, cache.has(left) if left else {})
            except RepxError as error:
                log.warning("%s; its results are not used", error.message)
        return {job: _reason(*self._found[job]) for job in jobs if job in self._found}

    def bring(self, jobs: Collection[JobId], store: Store) -> list[tuple[Source, Brought]]:
        """Copy the results of jobs to a store; return the copied results by source."""
        groups: dict[str, tuple[Source, dict[JobId, Found]]] = {}
        for job in jobs:
            source, found = self._found.pop(job)
            groups.setdefault(source.name, (source, {}))[1][job] = found
        return [(source, source.bring(found, store)) for source, found in groups.values()]

    def _take(self, source: Source, found: Mapping[JobId, Found]) -> None:
        self._found.update({job: (source, each) for job, each in found.items()})


@contextmanager
def way_out(name: str) -> Iterator[None]:
    """Say in the hint of an error that the jobs run without this source."""
    try:
        yield
    except InputError:  # a wrong name
        raise
    except RepxError as error:
        told = f"without --from {shlex.quote(name)} these jobs run instead"
        error.hint = f"{error.hint}; {told}" if error.hint else told
        raise


def _reason(source: Source, found: Found) -> str:
    by = f", made by {found.by}" if found.by else ""
    return f"fetched from {source.name}{by}"


def supply(target: Target, named: Source | None) -> Supply:
    """Return the supply of a target: its caches and the source that the user named."""
    caches: list[Source] = []
    for url in target.cache:
        try:
            caches.append(archive.of(url, target.ssh_config))
        except RepxError as error:
            log.warning("%s; its results are not used", error.message)
    return Supply(caches, named)
