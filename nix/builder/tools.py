"""Host tools: static programs that targets find in the Lab."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Any

from repx.lab.expand.store import chunks, sha256_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from repx.lab.expand.writer import Writer


def add(writer: Writer, packages: Sequence[Mapping[str, Any]]) -> None:
    """Write the programs of packages into the store, and the links that name them."""
    found = dict(tool for package in packages for tool in _tools(package))
    digests = {name: sha256_of({"path": path}) for name, path in found.items()}
    whole = "".join(f"{name} {digests[name]}\n" for name in sorted(found))
    folder = f"host-tools/{hashlib.sha256(whole.encode()).hexdigest()}/bin"
    stored: dict[str, str] = {}  # many tools may be one program
    for name in sorted(found):
        digest = digests[name]
        if digest not in stored:
            stored[digest] = f"store/{digest[:32]}-{os.path.basename(found[name])}"
            writer.file(stored[digest], chunks({"path": found[name]}), executable=True)
        writer.link(f"{folder}/{name}", f"../../../{stored[digest]}", digest)


def _tools(package: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the tools of a package: their names, and the files behind all links."""
    programs = package.get("programs") or {name: name for name in os.listdir(package["path"])}
    for tool, program in programs.items():
        path = os.path.realpath(f"{package['path']}/{program}")
        if os.path.isfile(path):
            yield tool, path
