"""From the files of a Lab to a ``Lab``; ``repx.lab.verify`` does the hashing."""

from __future__ import annotations

import gc
import hashlib
import json
import math
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from repx.errors import LabError, did_you_mean
from repx.lab import consistency, metadata
from repx.lab.consistency import Scope
from repx.lab.fields import FieldError, Object
from repx.lab.files import FolderFiles, Kind, LabFiles
from repx.lab.jobs import Jobs
from repx.model import DependencyType, JobId, Lab, Run, RunName

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from repx.lab.consistency import Links
    from repx.lab.metadata import Manifest, RunMetadata

MAX_METADATA_BYTES: Final = 2 << 30
_MANIFEST_SUFFIX: Final = "lab-metadata.json"
_NO_LAB: Final = "build one with `repx build`, or name one with `--lab PATH`"

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenLab:
    """A Lab and the files it came from; ``root`` is the real path of its folder or tar."""

    lab: Lab
    files: LabFiles
    root: Path


def open_lab(path: Path) -> OpenLab:
    """Read the Lab at ``path``: a folder, an uncompressed tar, or a link to one of them.

    Checks all that can be checked without reading the listed files. Raises LabError.
    """
    shown = path if path.is_absolute() else f"./{path}"
    try:
        root = path.resolve(strict=True)
    except PermissionError as error:
        hint = "its owner can let others read it: chmod -R a+rX .repx"
        raise LabError(f"cannot read {shown}: no access to {error.filename}", hint=hint) from error
    except (OSError, RuntimeError) as error:
        from repx.config import xdg  # only needed for an error

        xdg.current_folder()
        raise LabError(f"no Lab at {shown}", hint=_NO_LAB) from error
    with _collector_paused():
        files = _files(root)
        return OpenLab(lab=_lab(files), files=files, root=root)


def _files(root: Path) -> LabFiles:
    if root.is_dir():
        return FolderFiles(root)
    if root.is_file():
        from repx.lab.tar import TarFiles

        return TarFiles(root)
    raise LabError(f"{root}: neither a folder nor a tar", hint=_NO_LAB)


def _lab(files: LabFiles) -> Lab:
    place = _manifest_path(files)
    manifest = _read(files, place, metadata.manifest)
    root = _read(files, manifest.metadata, metadata.root)
    read = {path: _read(files, path, metadata.run) for path in root.runs}
    scope = _scope(files, manifest, read, root.own_names)
    links = {
        path: consistency.links(scope, run.jobs, files.describe(path)) for path, run in read.items()
    }
    lab = Lab(
        id=manifest.id,
        version=manifest.version,
        repx_version=root.repx_version,
        git_hash=root.git_hash,
        manifest=place,
        metadata=manifest.metadata,
        host_tools=_host_tools(files),
        runs=_runs(files, read, links),
        groups=root.groups,
        jobs=scope.jobs,
        files=manifest.files,
        digest=hashlib.sha256(files.read(place)).hexdigest(),
        needs={job_id: needs for each in links.values() for job_id, needs in each.needs.items()},
    )
    consistency.check(lab, files)
    return lab


def _scope(
    files: LabFiles,
    manifest: Manifest,
    read: Mapping[str, RunMetadata],
    own_names: Mapping[str, str],
) -> Scope:
    documents = {job_id: job for run in read.values() for job_id, job in run.jobs.items()}

    def place(job_id: JobId) -> str:
        return files.describe(next(path for path in read if job_id in read[path].jobs))

    return Scope(
        files=files,
        listed=manifest.files,
        documents=documents,
        jobs=Jobs(documents, place, own_names),
        legacy=frozenset[JobId]().union(*(run.legacy for run in read.values())),
    )


def _manifest_path(files: LabFiles) -> str:
    if files.kind("lab") is None:
        built = files.kind("result") is not None
        hint = f"did you mean '{files.describe('result')}'?" if built else _NO_LAB
        raise LabError(f"{files.describe('lab')}: missing, so this is not a Lab", hint=hint)
    found = [name for name in files.names("lab") if name.endswith(_MANIFEST_SUFFIX)]
    if len(found) != 1:
        problem = f"several manifests: {', '.join(found)}" if found else f"no *{_MANIFEST_SUFFIX}"
        raise LabError(f"{files.describe('lab')}: {problem}", hint=None if found else _NO_LAB)
    return f"lab/{found[0]}"


def _read(files: LabFiles, path: str, make: Callable[[Object], T]) -> T:
    """Parse one JSON file with ``make``, naming file and field in any error."""
    place = files.describe(path)
    size = files.size(path)
    if size > MAX_METADATA_BYTES:
        raise LabError(f"{place}: {size} bytes, more than metadata may have ({MAX_METADATA_BYTES})")
    try:
        text = files.read(path).decode()
        document = json.loads(text, parse_constant=_no_constant, parse_float=_finite)
        if r"\ud" in text or r"\uD" in text:  # half of a surrogate pair is no character
            json.dumps(document, ensure_ascii=False).encode()
        if type(document) is not dict:
            raise LabError(f"{place}: expected a JSON object, got {type(document).__name__}")
        return make(document)
    except FieldError as error:
        raise LabError(f"{place}: field `{error.field}`: {error.problem}") from None
    except RecursionError:
        raise LabError(f"{place}: JSON nested too deep") from None
    except ValueError as error:
        raise LabError(f"{place}: not valid JSON: {error}") from error


def _no_constant(word: str) -> object:
    raise ValueError(f"{word} is not JSON")


def _finite(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise ValueError(f"the number {digits} is too large")
    return value


def _host_tools(files: LabFiles) -> str | None:
    if files.kind("host-tools") is not Kind.DIR:
        return None
    names = files.names("host-tools")
    return next((name for name in names if files.kind(f"host-tools/{name}") is Kind.DIR), None)


def _runs(
    files: LabFiles, read: Mapping[str, RunMetadata], links: Mapping[str, Links]
) -> dict[RunName, Run]:
    runs: dict[RunName, Run] = {}
    for path, run in read.items():
        if run.name in runs:
            other = files.describe(runs[run.name].metadata)
            raise LabError(f"{files.describe(path)}: run '{run.name}' exists already, in {other}")
        runs[run.name] = Run(
            name=run.name,
            metadata=path,
            jobs=tuple(run.jobs),
            dependencies=_dependencies(files, path, read, links[path]),
            image=run.image,
        )
    return runs


def _dependencies(
    files: LabFiles, path: str, read: Mapping[str, RunMetadata], links: Links
) -> dict[RunName, DependencyType]:
    """Join the runs that a run lists, by metadata path, and those its jobs read; hard wins."""
    names = {run.name for run in read.values()}
    found = dict(links.runs)
    for key, kind in read[path].dependencies.items():
        name = read[key].name if key in read else key
        if found.get(name) is not DependencyType.HARD:
            found[name] = kind
    unknown = next((name for name in found if name not in names), None)
    if unknown is not None:
        where = f"{files.describe(path)}: depends on run '{unknown}'"
        raise LabError(f"{where}, which is not in the Lab", hint=did_you_mean(unknown, names))
    return found


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Pause garbage collection: loading makes no garbage, and a big load takes half the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
