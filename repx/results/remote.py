"""Results on another machine: files are copied here on demand, and kept."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from repx import pulling
from repx import store as stores
from repx.config import xdg
from repx.places import carry

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from typing import Any

    from repx.model import JobId
    from repx.store import Store

    # Paths below jobs' folders; an empty collection means everything in ``out``.
    Asked = Mapping[JobId, Collection[str]]


class Remote:
    """A store on another machine, and the local folder that keeps files copied from it.

    Mutable: each file is requested once per opened Lab; unchanged files are not sent again.
    """

    def __init__(self, store: Store) -> None:
        """Keep files in the user's cache, or in a temporary folder without a cache."""
        place = f"{store.place.name}:{store.root}"
        env = os.environ  # noqa: TID251  # a notebook has no command line to read it
        cache = xdg.cache(env) or Path(tempfile.gettempdir()) / f"repx-{os.getuid()}"
        name = hashlib.sha256(place.encode()).hexdigest()[:16]
        self._store: Final = store
        self._asked: set[str] = set()
        self.kept: Final = stores.local(str(cache / "results" / name), "private")

    def bring(self, wanted: Asked) -> None:
        """Copy files and folders of jobs here, in two round trips; drop copies of deleted ones."""
        keys = [
            f"outputs/{job}/{path}".rstrip("/")
            for job, paths in wanted.items()
            for path in (paths or ("out",))
        ]
        new = [key for key in keys if key not in self._asked]
        if not new:
            return
        homes = dict.fromkeys("/".join(key.split("/")[:3]) for key in new)
        there = self._store.listing(list(homes))
        chosen = {key: facts for key, facts in there.items() if _is_asked(key, new)}
        if any(stat.S_ISLNK(mode) for mode, _ in chosen.values()):  # targets lie anywhere
            chosen = there
        gone = [key for key in new if not any(_is_asked(each, [key]) for each in chosen)]
        if gone:
            self.kept.remove(*gone)
        pulling.bring_files(self._store, self.kept, chosen, carry.SOME)
        self._asked.update(new)

    def file(self, key: str) -> Path:
        """Copy one file of the store here, and return its local path."""
        content = self._store.read(key)
        if content is not None:
            self.kept.write(key, content)
        return Path(self.kept.path(key))


def _is_asked(key: str, wanted: Collection[str]) -> bool:
    return any(key == each or key.startswith(f"{each}/") for each in wanted)


class OnDemand(dict[str, Path]):
    """Paths by name; looking a path up copies the file here."""

    def __init__(self, paths: Mapping[str, Path], bring: Callable[[Collection[str]], None]) -> None:
        """Call ``bring`` with the names that are looked up."""
        super().__init__(paths)
        self._bring = bring

    def __getitem__(self, name: str) -> Path:
        """Copy a file here, and return its path."""
        if name in self:
            self._bring([name])
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:  # noqa: ANN401  # as a dict has it
        """Copy a file here and return its path, or return the default."""
        return self[name] if name in self else default  # noqa: SIM401  # dict.get copies no file

    def values(self) -> Any:  # noqa: ANN401  # as a dict has it
        """Copy all files here, and return the paths."""
        self._bring(list(self))
        return super().values()

    def items(self) -> Any:  # noqa: ANN401  # as a dict has it
        """Copy all files here, and return names and paths."""
        self._bring(list(self))
        return super().items()
