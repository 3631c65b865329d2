"""Bring to a store what it lacks of a Lab: shared parts by content, metadata by Lab id."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from repx.lab.files import LabFiles
    from repx.model import Job, Lab
    from repx.plan import Plan
    from repx.storage import Store

ARTIFACTS: Final = "artifacts"
_LAYER_SUFFIX: Final = "-layer.tar"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """How much a transfer wrote; 0 files when the store had everything."""

    files: int = 0
    size_bytes: int = 0


def artifact_path(files: LabFiles, store: Store) -> Callable[[str], str]:
    """Return a function from an executable's path in the Lab to its path on the target.

    A link into the Lab's ``store/`` leads to the one shared copy, so no job folder is needed.
    """

    def place(path: str) -> str:
        return store.path(f"{ARTIFACTS}/{_content_path(files, path)}")

    return place


def send(lab: Lab, files: LabFiles, plan: Plan, store: Store) -> Sent:
    """Copy what the plan's jobs need and the store lacks, each file whole or not at all.

    Raises StorageError when the store cannot be written, LabError when the Lab cannot be read.
    """
    written = [
        size
        for source in (
            _shared(files, store),
            _job_folders(files, plan, store),
            _metadata(lab, files, store),
        )
        for size in source
    ]
    return Sent(files=len(written), size_bytes=sum(written))


def metadata_name(lab_id: str, run: str) -> str:
    """Return the name of a run's metadata below ``artifacts/revision`` (``top``: the root's)."""
    return f"{lab_id}-metadata-{run}.json"


def _content_path(files: LabFiles, path: str) -> str:
    resolved = files.resolve(path)
    return resolved if resolved.startswith("store/") else path


def _shared(files: LabFiles, store: Store) -> Iterator[int]:
    """Copy ``store/`` and ``host-tools/``; their names tell their content. Images go apart."""
    present = set(store.names(f"{ARTIFACTS}/store"))
    folders = [name for name in ("store", "host-tools") if files.kind(name) is not None]
    for path in (path for name in folders for path in files.walk(name)):
        folder, name = path.split("/", 2)[:2]
        flat = folder == "store" and path.count("/") == 1
        if path.endswith(_LAYER_SUFFIX) or (flat and name in present):
            continue
        # A folder may be half there, if an earlier transfer was cut off.
        if flat or not store.exists(f"{ARTIFACTS}/{path}"):
            yield _copy(files, path, store)


def _job_folders(files: LabFiles, plan: Plan, store: Store) -> Iterator[int]:
    for task in plan.tasks:
        if _runs_from_its_folder(files, task.job):
            for path in files.walk(f"jobs/{task.job.id}"):
                # Two Labs may hold different scripts under one id (hashMode params-only).
                if store.read(f"{ARTIFACTS}/{path}") != files.read(path):
                    yield _copy(files, path, store)


def _runs_from_its_folder(files: LabFiles, job: Job) -> bool:
    return any(
        not _content_path(files, executable.path).startswith("store/")
        for executable in job.executables.values()
    )


def _copy(files: LabFiles, path: str, store: Store) -> int:
    resolved = files.resolve(path)
    if resolved != path and resolved.startswith("store/") and store.fs is None:
        store.link(f"{ARTIFACTS}/{path}", "../" * path.count("/") + resolved)
        return 0
    mode = 0o755 if files.is_executable(path) else 0o644
    with files.open(path) as source:
        return store.write(f"{ARTIFACTS}/{path}", source, mode)


def _metadata(lab: Lab, files: LabFiles, store: Store) -> Iterator[int]:
    """Copy the metadata under names that carry the Lab's id; the manifest comes last."""
    renamed = {
        run.metadata: f"revision/{metadata_name(lab.id, run.name)}" for run in lab.runs.values()
    }
    top = f"revision/{metadata_name(lab.id, 'top')}"
    manifest = f"lab/{lab.id}-lab-metadata.json"
    if store.exists(f"{ARTIFACTS}/{manifest}"):
        return
    for path, name in renamed.items():
        document = json.loads(files.read(path))
        dependencies = document.get("dependencies") or {}
        document["dependencies"] = {renamed.get(k, k): v for k, v in dependencies.items()}
        yield _write_json(store, name, document)
    root = json.loads(files.read(lab.metadata))
    root["runs"] = list(renamed.values())
    yield _write_json(store, top, root)
    entry = json.loads(files.read(lab.manifest))
    entry["metadata"] = top
    yield _write_json(store, manifest, entry)


def _write_json(store: Store, name: str, document: object) -> int:
    content = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
    store.write(f"{ARTIFACTS}/{name}", content)
    return len(content)
