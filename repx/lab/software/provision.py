"""The images and packages that a definition names: present ones, and ones to fetch first."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from repx.errors import LabError
from repx.lab import image_build, images
from repx.lab.software import declared, environment, installers, packages, registry
from repx.lab.software.installers import Shop
from repx.lab.software.programs import SoftwareError, run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from repx.lab.blueprint import Source
    from repx.lab.definition import Definition, Pointer, Run, Stage
    from repx.lab.images import Image
    from repx.lab.lockfile import Lock
    from repx.lab.software.declared import Packages
    from repx.lab.software.packages import Pins
    from repx.lab.software.programs import Programs
    from repx.lab.sources import Sources

_NOWHERE: Final = "not-pinned-yet"
_NO_ZSTD: Final = "it is packed with zstd, which is not installed (Debian: apt-get install zstd)"
_IMAGES: Final = "images"
_PACKAGES: Final = "packages"


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """The software of a stage's programs in one run; image and environment are names in the Lab."""

    image: str | None = None
    environment: str | None = None
    modules: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Provisions:
    """Images and environments by their names in the definition; some may be missing."""

    images: Mapping[str, Image] = field(default_factory=dict)
    environments: Mapping[Packages, Source] = field(default_factory=dict)

    def image_of(self, definition: Definition, run: Run) -> str | None:
        """Return the path in the Lab of the image for a run's jobs."""
        return self._place(run.image or definition.image)

    def around(self, definition: Definition, run: Run, stage: Stage) -> Surroundings:
        """Return the software of a stage's programs in a run."""
        wanted = declared.of((definition.software, run.software, stage.software))
        found = self.environments.get(wanted.packages) if wanted.packages else None
        return Surroundings(
            image=self._place(stage.image or run.image or definition.image),
            environment=found["name"] if found else None,
            modules=wanted.modules,
        )

    def _place(self, name: str | None) -> str | None:
        image = self.images.get(name) if name else None
        return image_build.place(image) if image else None


NOTHING: Final = Provisions()


class Provider:
    """Fetches images and packages for a definition, and notes in it those that are not available.

    Fetched files are kept below ``home`` for later builds.
    """

    def __init__(self, definition: Definition, sources: Sources, lock: Lock, home: Path) -> None:
        """Find the images and packages that the definition needs; fetch nothing yet."""
        self._definition = definition
        self._sources = sources
        self._lock = lock
        self._images_home = home / "images"
        self._packages_home = home / "software"
        self._images = _images(definition)
        self._packages = _packages(definition)

    def there(self) -> Provisions | None:
        """Return all images and packages, None if some must be fetched first.

        Starts no process and needs no network. Notes files that cannot be read.
        """
        ready: dict[Packages, Source | None] = {}
        for wanted, at in self._packages.items():
            try:
                ready[wanted] = self._ready(wanted)
            except SoftwareError as error:
                self._definition.error(at, f"{wanted.kind}: {error}")
        fetched = [path for name in self._images if (path := self._fetched(name)) is not None]
        if not all(ready.values()) or not all(path.exists() for path in fetched):
            return None
        environments = {wanted: source for wanted, source in ready.items() if source is not None}
        return Provisions(images=dict(self._read()), environments=environments)

    def get(self, programs: Programs, say: Callable[[str], None]) -> Provisions:
        """Fetch the missing ones and write the lock file. Only one process at a time may do so."""
        environments = {}
        for left in (*self._images_home.glob("new-*"), *self._packages_home.glob("new-*")):
            shutil.rmtree(left, ignore_errors=True)  # left by a killed build
        for name, at in self._images.items():
            try:
                self._fetch(name, programs, say)
            except SoftwareError as error:
                self._definition.error(at, f"image: {error}")
        for wanted, at in self._packages.items():
            try:
                environments[wanted] = self._ready(wanted) or self._installed(wanted, programs, say)
            except SoftwareError as error:
                self._definition.error(at, f"{wanted.kind}: {error}")
        self._definition.stop()
        self._lock.write(
            {
                *((_IMAGES, name) for name in self._images),
                *((_PACKAGES, packages.name_in_lock(wanted)) for wanted in self._packages),
            }
        )
        return Provisions(images=dict(self._read()), environments=environments)

    def _read(self) -> Iterator[tuple[str, Image]]:
        for name, at in self._images.items():
            path = self._fetched(name) or self._definition.folder / name
            try:
                yield name, image_build.read(path, self._sources)
            except LabError as error:
                self._definition.error(at, f"image: {error}")
            except OSError as error:
                why = f"cannot read {error.filename or path}: {error.strerror}"
                registered = f"; an image of a registry is written {registry.PREFIX}{name}"
                missing = isinstance(error, FileNotFoundError) and registry.may_be_one(name)
                self._definition.error(at, f"image: {why}{registered if missing else ''}")

    def _fetched(self, name: str) -> Path | None:
        """Return the local copy's path of an image that must be fetched or unpacked, else None."""
        if registry.is_reference(name):
            return registry.folder(self._images_home, self._digest(name) or _NOWHERE)
        path = self._definition.folder / name
        if path.is_file() and images.is_zstd(path):
            return (
                self._images_home / f"{self._sources.looks.at(os.path.realpath(path)).sha256}.tar"
            )
        return None

    def _digest(self, name: str) -> str | None:
        pinned: str | None = self._lock.get(_IMAGES, name)
        return pinned

    def _fetch(self, name: str, programs: Programs, say: Callable[[str], None]) -> None:
        place = self._fetched(name)
        if place is None or place.exists():
            return
        if not registry.is_reference(name):
            self._unpack(self._definition.folder / name, place, programs)
            return
        digest = self._digest(name) or registry.pin(name, programs, self._definition.folder)
        self._lock.pin(_IMAGES, name, digest)
        if not registry.folder(self._images_home, digest).exists():
            say(f"fetching {name}, {digest}")
            registry.fetch(name, digest, self._images_home, programs)

    def _unpack(self, packed: Path, place: Path, programs: Programs) -> None:
        place.parent.mkdir(parents=True, exist_ok=True)
        part = place.with_name(f"new-{place.name}")
        words = ("zstd", "-dqf", str(packed), "-o", str(part))
        run(programs, words, place.parent, missing=_NO_ZSTD)
        part.replace(place)

    def _ready(self, wanted: Packages) -> Source | None:
        pins = self._pinned(wanted)
        return environment.source(self._packages_home / pins.key) if pins else None

    def _pinned(self, wanted: Packages) -> Pins | None:
        """Return the pins of the files in their current state. Raises SoftwareError."""
        folder = self._definition.folder
        sums = packages.sums(wanted, folder)
        for file in sums:
            self._sources.looks.at(folder / file)
        pinned = self._lock.get(_PACKAGES, packages.name_in_lock(wanted))
        pins = packages.pins_of(pinned) if pinned else None
        return pins if pins and pins.sums == sums else None

    def _installed(
        self, wanted: Packages, programs: Programs, say: Callable[[str], None]
    ) -> Source:
        home = self._packages_home
        shop = Shop(project=self._definition.folder, home=home, programs=programs, say=say)
        pins = installers.get(wanted, self._pinned(wanted), shop)
        self._lock.pin(_PACKAGES, packages.name_in_lock(wanted), pins.document())
        found = environment.source(home / pins.key)
        if found is None:
            raise SoftwareError(f"{home / pins.key} was removed meanwhile: build again")
        return found


def _images(definition: Definition) -> dict[str, Pointer]:
    """Return every image that jobs run in, and its first place in the definition."""
    found: dict[str, Pointer] = {}
    for levels in _levels(definition):
        named = [(at, image) for at, image, _ in levels if image]
        if named:
            at, image = named[-1]
            found.setdefault(image, (*at, "image"))
    return found


def _packages(definition: Definition) -> dict[Packages, Pointer]:
    """Return all packages that jobs use, and their first places in the definition."""
    found: dict[Packages, Pointer] = {}
    for levels in _levels(definition):
        wanted = declared.of(raw for _, _, raw in levels).packages
        if wanted is not None:
            at, raw = [(at, raw) for at, _, raw in levels if wanted.kind in raw][-1]
            where = (*at, "software", wanted.kind)
            if wanted not in found and {"venv", "uv"} <= raw.keys():
                definition.error(where, "`venv` and `uv` stand side by side: name one of them")
            found.setdefault(wanted, where)
    return found


def _levels(
    definition: Definition,
) -> Iterator[list[tuple[Pointer, str | None, Mapping[str, object]]]]:
    """Yield the images and software of the Lab, run and stage, for each stage of each run."""
    for one in definition.runs.values():
        keys = {key for name in one.pipelines for key in definition.pipelines.get(name, ())}
        for key in sorted(keys & definition.stages.keys()):
            stage = definition.stages[key]
            yield [
                ((), definition.image, definition.software),
                (one.at, one.image, one.software),
                (stage.at, stage.image, stage.software),
            ]
