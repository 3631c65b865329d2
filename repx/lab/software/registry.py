"""Images of registries: fetched once by skopeo, pinned by digest."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from repx.lab.software.programs import SoftwareError, run

if TYPE_CHECKING:
    from repx.lab.software.programs import Programs

PREFIX: Final = "docker://"
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_NAME: Final = re.compile(r"\w[\w.-]*(:\d+)?(/[\w.-]+)*(:[\w.-]+|@sha256:[0-9a-f]{64})")
_MISSING: Final = "skopeo is not installed: it fetches images (on Debian: apt-get install skopeo)"


def is_reference(name: str) -> bool:
    """Return whether an image comes from a registry."""
    return name.startswith(PREFIX)


def may_be_one(name: str) -> bool:
    """Return whether a name without ``docker://`` looks like an image of a registry."""
    return _NAME.fullmatch(name) is not None


def is_digest(value: object) -> bool:
    """Return whether a lock file's value is the digest of an image."""
    return isinstance(value, str) and _DIGEST.fullmatch(value) is not None


def checked(pinned: object) -> str:
    """Return what a lock file pins for an image. Raises ValueError unless it is a digest."""
    if not isinstance(pinned, str) or _DIGEST.fullmatch(pinned) is None:
        message = f"'{pinned}' is no digest like sha256:0123..."
        raise ValueError(message)
    return pinned


def folder(home: Path, digest: str) -> Path:
    """Return the folder of the image with a digest."""
    return home / digest.removeprefix("sha256:")


def pin(name: str, programs: Programs, cwd: Path) -> str:
    """Return the current digest of an image reference, or its own. Raises SoftwareError."""
    own = name.partition("@")[2]
    if is_digest(own):
        return own
    printed = _skopeo(programs, cwd, "inspect", "--no-tags", "--format", "{{.Digest}}", name)
    if not is_digest(printed.strip()):
        raise SoftwareError(f"skopeo says the digest of {name} is '{printed.strip()}'")
    return printed.strip()


def fetch(name: str, digest: str, home: Path, programs: Programs) -> None:
    """Fetch the image with a digest into its folder. Raises SoftwareError."""
    home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="new-", dir=home) as new:
        exact = f"{repository(name)}@{digest}"
        _skopeo(programs, home, "copy", "--quiet", exact, f"oci:{new}/image:repx")
        place = folder(home, digest)
        shutil.rmtree(place, ignore_errors=True)
        Path(new, "image").rename(place)


def repository(name: str) -> str:
    """Return a reference without its tag and digest; a port is no tag."""
    name = name.partition("@")[0]
    path, _, last = name.rpartition("/")
    return f"{path}/{last.partition(':')[0]}"


def _skopeo(programs: Programs, cwd: Path, *words: str) -> str:
    return run(programs, ("skopeo", *words), cwd, missing=_MISSING)
