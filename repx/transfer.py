"""Bring to a store what it lacks of a Lab: shared parts by content, metadata by Lab id."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final

from repx import progress
from repx.errors import LabError
from repx.lab.files import Kind, parts
from repx.launch import metadata_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from repx.lab.files import LabFiles
    from repx.model import Lab
    from repx.plan import Plan
    from repx.storage import Store

ARTIFACTS: Final = "artifacts"
_SHARED: Final = ("store", "host-tools")
_LAYER_SUFFIX: Final = "-layer.tar"
_EXECUTABLE: Final = 0o755
_PLAIN: Final = 0o644


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """How much a transfer wrote; 0 files when the store had everything."""

    files: int = 0
    size_bytes: int = 0


def places(files: LabFiles) -> Callable[[str], str]:
    """Return a function from an executable's path in the Lab to its key in a store.

    A link into the Lab's ``store/`` that stands alone leads to the one shared copy, so no job
    folder is needed. Beside other files it is run where it stands: it may look for them there.
    Remembers its answers.
    """

    @cache
    def place(path: str) -> str:
        resolved = files.resolve(path)
        shared = resolved.startswith("store/") and _stands_alone(files, path)
        return f"{ARTIFACTS}/{resolved if shared else path}"

    return place


def send(lab: Lab, files: LabFiles, plan: Plan, store: Store, place: Callable[[str], str]) -> Sent:
    """Copy what the plan's jobs need and the store lacks, each file whole or not at all.

    ``place`` says where executables go (``places``).

    Raises StorageError when the store cannot be written, LabError when the Lab cannot be read.
    """
    written = [
        size
        for source in (
            _programs(files, _folders(plan, place), store),
            _metadata(lab, files, store),
        )
        for size in source
    ]
    return Sent(files=len(written), size_bytes=sum(written))


def _stands_alone(files: LabFiles, path: str) -> bool:
    folder, _, name = path.rpartition("/")
    above = folder.rpartition("/")[0]
    return files.names(folder) == [name] and all(
        other == "bin" or other.endswith(".json") for other in files.names(above)
    )


def _programs(files: LabFiles, folders: Iterable[str], store: Store) -> Iterator[int]:
    """Copy what is shared, the folders programs run from, and what links there lead to."""
    for name in _SHARED:
        if files.kind(name) not in (None, Kind.DIR):
            raise LabError(f"{files.describe(name)}: a folder is wanted here")
    todo = [*_SHARED, *folders]
    done: set[str] = set()
    for folder in todo:  # it grows on the way
        if folder in done:
            continue
        done.add(folder)
        for path in files.walk(folder):
            resolved = files.resolve(path)
            if resolved == path:
                yield from _renewed(files, path, store)
            elif files.kind(resolved):  # a link to nothing helps no job
                todo.append(_folder(resolved))
                yield from _linked(files, path, resolved, store)


def _folders(plan: Plan, place: Callable[[str], str]) -> Iterator[str]:
    """Yield the folders of the Lab that the plan's programs run from; some more than once."""
    for task in progress.through(plan.tasks, "looking for programs:"):
        for executable in task.job.executables.values():
            folder = _folder(place(executable.path).removeprefix(f"{ARTIFACTS}/"))
            if folder not in _SHARED:
                yield f"jobs/{task.job.id}"
                yield folder


def _folder(path: str) -> str:
    """Return what is sent as a whole: one job's folder, else what stands at the Lab's root."""
    names = parts(path)
    return "/".join(names[: 2 if names[:1] == ["jobs"] else 1])


def _renewed(files: LabFiles, path: str, store: Store) -> Iterator[int]:
    """Copy a file unless the store has just that, whatever its name promises.

    A copy may have been cut off or lost its mode; another Lab may call something else by that
    name (hashMode params-only, names not made from content). Images go apart.
    """
    if path.endswith(_LAYER_SUFFIX):
        return
    with files.open(path) as source:
        mode = _EXECUTABLE if files.is_executable(path) else _PLAIN
        if store.holds(f"{ARTIFACTS}/{path}", source, files.size(path), mode):
            return
    with files.open(path) as source:
        yield store.write(f"{ARTIFACTS}/{path}", source, mode)


def _linked(files: LabFiles, path: str, resolved: str, store: Store) -> Iterator[int]:
    """Make a link again, or where the store has none copy the file it leads to."""
    if store.fs is None:
        store.link(f"{ARTIFACTS}/{path}", "../" * path.count("/") + resolved)
    elif files.kind(resolved) is Kind.FILE:
        yield from _renewed(files, path, store)
    else:
        raise LabError(
            f"{files.describe(path)}: the target's file system cannot hold a link to a folder"
        )


def _metadata(lab: Lab, files: LabFiles, store: Store) -> Iterator[int]:
    """Copy the metadata under names that carry the Lab's id; the manifest comes last.

    The manifest holds the sums of the rest, so where it is the same, so is the rest.
    """
    renamed = {run.metadata: metadata_name(lab.id, run.name) for run in lab.runs.values()}
    top = metadata_name(lab.id, "top")
    manifest = f"{ARTIFACTS}/lab/{lab.id}-lab-metadata.json"
    entry = _json(json.loads(files.read(lab.manifest)) | {"metadata": top})
    if store.read(manifest) == entry:
        return
    for path, name in renamed.items():
        document = json.loads(files.read(path))
        dependencies = document.get("dependencies") or {}
        document["dependencies"] = {renamed.get(k, k): v for k, v in dependencies.items()}
        yield store.write(f"{ARTIFACTS}/{name}", _json(document))
    root = json.loads(files.read(lab.metadata)) | {"runs": list(renamed.values())}
    yield store.write(f"{ARTIFACTS}/{top}", _json(root))
    yield store.write(manifest, entry)


def _json(document: object) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
