"""Host tools: programs that targets find in the Lab. They must run where there is no Nix."""

from __future__ import annotations

import hashlib
import os
import struct
import sys
from typing import TYPE_CHECKING, Any

from repx.lab.expand.store import chunks, sha256_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from repx.lab.expand.writer import Writer

_STORE = "/nix/store/"
_ELF = b"\x7fELF\x02\x01"  # of 64 bits, little-endian, as all systems that Nix builds for
_INTERPRETER = 3


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
    for tool, program in sorted(programs.items()):
        path = os.path.realpath(f"{package['path']}/{program}")
        if not os.path.isfile(path):
            continue
        needed = interpreter(path)
        if needed.startswith(_STORE):
            print(
                f"warning: host tools: {tool} is left out, since it needs {needed}: "
                "give hostTools a package set with static programs",
                file=sys.stderr,
            )
            continue
        yield tool, path


def interpreter(path: str) -> str:
    """Return what a program is started by: a script's interpreter, or a loader; empty for none."""
    with open(path, "rb") as stream:
        head = stream.read(64)
        if head.startswith(b"#!"):
            stream.seek(2)
            return next(iter(stream.readline(512).decode(errors="replace").split()), "")
        if not head.startswith(_ELF) or len(head) < 64:  # noqa: PLR2004  # its header's size
            return ""
        (offset,) = struct.unpack_from("<Q", head, 32)
        size, count = struct.unpack_from("<HH", head, 54)
        for index in range(count):
            stream.seek(offset + index * size)
            entry = stream.read(56)
            if len(entry) == 56 and struct.unpack_from("<I", entry)[0] == _INTERPRETER:  # noqa: PLR2004
                start, length = (
                    *struct.unpack_from("<Q", entry, 8),
                    *struct.unpack_from("<Q", entry, 32),
                )
                stream.seek(start)
                return stream.read(length).rstrip(b"\0").decode(errors="replace")
    return ""
