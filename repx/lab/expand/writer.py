"""Files of a Lab, written below one folder with their checksums."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Any

from repx.lab.expand.store import chunks, store_name, tree_digest
from repx.lab.expand.text import BlueprintError
from repx.lab.expand.variants import pname_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from repx.lab.expand.stages import Stage


class Writer:
    """Writes below one folder and remembers each file's checksum for the manifest."""

    def __init__(self, root: str) -> None:
        """Write below ``root``."""
        self.root = root
        self.files: dict[str, str] = {}

    def file(self, path: str, chunks: Iterable[bytes], *, executable: bool = False) -> str:
        """Write one file and return its sha256."""
        digest = hashlib.sha256()
        full = f"{self.root}/{path}"
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "xb") as stream:
            for chunk in chunks:
                digest.update(chunk)
                stream.write(chunk)
        os.chmod(full, 0o755 if executable else 0o644)
        self.files[path] = digest.hexdigest()
        return self.files[path]

    def store(self, source: Mapping[str, Any], *, executable: bool = False) -> None:
        """Write a store entry once. Raises when its content no longer matches its name."""
        name = source.get("name") or store_name(source)
        if os.path.lexists(f"{self.root}/store/{name}"):
            return
        if "tree" in source:
            tree = source["tree"]
            digests = {
                each: self._entry(f"store/{name}/{each}", tree[each]) for each in sorted(tree)
            }
            digest = tree_digest(digests, tree)
        else:
            executable = executable or bool(source.get("executable"))
            digest = self.file(f"store/{name}", chunks(source), executable=executable)
        if not name.startswith(digest[:32]) and not source.get("made"):
            changed = source.get("path") or source["label"]
            raise BlueprintError(f"{changed} changed while the Lab was being built: build again")

    def _entry(self, path: str, source: Mapping[str, Any]) -> str:
        """Write or hard-link one file of a folder; return its sha256."""
        if source.get("link"):
            full = f"{self.root}/{path}"
            os.makedirs(os.path.dirname(full), exist_ok=True)
            try:
                os.link(source["path"], full)
            except OSError:  # another file system, or one without hard links
                pass
            else:
                self.files[path] = source["sha256"]
                return self.files[path]
        return self.file(path, chunks(source), executable=bool(source.get("executable")))

    def adopt(self, part: str, path: str, digest: str) -> None:
        """Move a file that was written into the Lab's folder to its place, with a known sha256."""
        os.chmod(part, 0o644)
        os.replace(part, f"{self.root}/{path}")
        self.files[path] = digest

    def link(self, path: str, target: str, digest: str) -> None:
        """Write a link to a file of the Lab whose checksum is known."""
        full = f"{self.root}/{path}"
        os.makedirs(os.path.dirname(full), exist_ok=True)
        os.symlink(target, full)
        self.files[path] = digest

    def job(self, jid: str, stage: Stage) -> None:
        """Write one job's folder: a link into the store for each executable."""
        os.mkdir(f"{self.root}/jobs/{jid}")
        os.mkdir(f"{self.root}/jobs/{jid}/bin")
        pname = pname_of(jid, stage.version)
        for each in stage.executables:
            path = f"jobs/{jid}/bin/{each.binary(pname)}"
            os.symlink(f"../../../store/{each.script}", f"{self.root}/{path}")
            self.files[path] = self.files[f"store/{each.script}"]
