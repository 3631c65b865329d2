"""Results on another machine: files are brought here when they are asked for, and kept."""

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

    # Paths below jobs' folders; none of them: everything in ``out``.
    Asked = Mapping[JobId, Collection[str]]


class Remote:
    """The store there, and the folder here that keeps what came from it.

    Mutable: it asks once for each file; a Lab that is opened again asks again, and what is still
    the same is not sent again.
    """

    def __init__(self, store: Store) -> None:
        """Keep files in the user's cache, or in a temporary folder where there is none."""
        place = f"{store.place.name}:{store.root}"
        env = os.environ  # noqa: TID251  # a notebook has no command line to read it
        cache = xdg.cache(env) or Path(tempfile.gettempdir()) / f"repx-{os.getuid()}"
        name = hashlib.sha256(place.encode()).hexdigest()[:16]
        self._store: Final = store
        self._asked: set[str] = set()
        self.kept: Final = stores.local(str(cache / "results" / name), "private")

    def bring(self, wanted: Asked) -> None:
        """Bring files and folders of jobs, in two round trips; what is not there is not here."""
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
        if any(stat.S_ISLNK(mode) for mode, _ in chosen.values()):  # to whatever they lead to
            chosen = there
        gone = [key for key in new if not any(_is_asked(each, [key]) for each in chosen)]
        if gone:
            self.kept.remove(*gone)
        pulling.bring_files(self._store, self.kept, chosen, carry.SOME)
        self._asked.update(new)

    def file(self, key: str) -> Path:
        """Bring one file of the store, and return where it is here."""
        content = self._store.read(key)
        if content is not None:
            self.kept.write(key, content)
        return Path(self.kept.path(key))


def _is_asked(key: str, wanted: Collection[str]) -> bool:
    return any(key == each or key.startswith(f"{each}/") for each in wanted)


class OnDemand(dict[str, Path]):
    """Paths by name whose files are brought when a path is looked up."""

    def __init__(self, paths: Mapping[str, Path], bring: Callable[[Collection[str]], None]) -> None:
        """``bring`` gets the names of what is looked up."""
        super().__init__(paths)
        self._bring = bring

    def __getitem__(self, name: str) -> Path:
        """Bring a file, and return its path."""
        if name in self:
            self._bring([name])
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:  # noqa: ANN401  # as a dict has it
        """Return the path of a name, its file being here, or the default."""
        return self[name] if name in self else default  # noqa: SIM401  # which brings nothing

    def values(self) -> Any:  # noqa: ANN401  # as a dict has it
        """Bring all files, and return the paths."""
        self._bring(list(self))
        return super().values()

    def items(self) -> Any:  # noqa: ANN401  # as a dict has it
        """Bring all files, and return names and paths."""
        self._bring(list(self))
        return super().items()
