"""Files of requirements as pip reads them: included files, and where pip finds packages."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_FILES: Final = ("-r", "--requirement", "-c", "--constraint")
# Where pip looks for packages; they do not decide which packages are installed.
_PLACES: Final = (
    *("-i", "--index-url", "--extra-index-url", "--no-index", "-f", "--find-links"),
    *("--trusted-host", "--only-binary", "--no-binary", "--prefer-binary"),
)


def files(top: Path) -> tuple[Path, ...]:
    """Return a file of requirements and all files it includes. Raises OSError, ValueError."""
    found = [top]
    for file in found:  # grows inside the loop
        for option, value in _options(file):
            if option in _FILES and "://" not in value:
                inner = file.parent / value
                found += [inner] if inner not in found else []
    return tuple(found)


def places(top: Path) -> tuple[str, ...]:
    """Return the options in requirements that say where pip finds packages, one per line.

    Folders in them are URLs of files, which pip splits at no space.
    """
    lines = []
    for file in files(top):
        for option, value in _options(file):
            if option in _PLACES:
                folder = file.parent / value
                where = folder.resolve().as_uri() if value and folder.exists() else value
                lines.append(f"{option} {where}".strip())
    return tuple(dict.fromkeys(lines))


def _options(file: Path) -> Iterator[tuple[str, str]]:
    """Yield each option and its value, from the lines that begin with an option."""
    for line in file.read_text(encoding="utf-8").replace("\\\n", " ").splitlines():
        words = shlex.split(line.strip(), comments=True) if line.lstrip().startswith("-") else []
        if words:
            option, equals, value = words[0].partition("=")
            known = option in (*_FILES, *_PLACES)
            if not known and option[:2] in ("-r", "-c", "-i", "-f"):  # e.g. -rfile.txt
                option, value, equals = option[:2], words[0][2:], "="
            yield option, value if equals else " ".join(words[1:])
