"""Send the missing files of a Lab to a store: contents once, under the Lab's own names."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from functools import cache
from itertools import chain
from typing import TYPE_CHECKING, BinaryIO, Final, cast

from repx import progress, repx05, runner_code
from repx.errors import LabError
from repx.lab.files import Kind, parts
from repx.lab.verify import changed
from repx.launch import lab_folder, metadata_name, own_name

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from repx.lab.files import LabFiles
    from repx.model import Lab
    from repx.places import Facts, Outgoing
    from repx.plan import Plan
    from repx.store import Store

ARTIFACTS: Final = "artifacts"
_SHARED: Final = ("store", "host-tools")
_LAYER_SUFFIX: Final = "-layer.tar"
_EXECUTABLE: Final = 0o755
_PLAIN: Final = 0o644
_DEEPEST: Final = 200
_CHUNK: Final = 1 << 20
_SHOWN: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """The number of files and bytes that a transfer wrote; 0 files if none was missing."""

    files: int = 0
    size_bytes: int = 0

    def __add__(self, other: Sent) -> Sent:
        """Return the sum of both."""
        return Sent(files=self.files + other.files, size_bytes=self.size_bytes + other.size_bytes)


@dataclass(slots=True)
class _Wanted:
    """The files (by path) and links (by key) of a Lab that a store must have. Mutable."""

    files: list[str] = field(default_factory=list)
    links: dict[str, str] = field(default_factory=dict)


def places(lab: Lab, files: LabFiles) -> Callable[[str], str]:
    """Return a function from an executable's path in the Lab to its key in a store.

    A link into the Lab's ``store/`` that is alone in its folder gives the shared copy, so no job
    folder is needed. An executable beside other files runs from its own folder, since it may look
    for them there. The function caches its results.
    """
    home = lab_folder(lab)

    @cache
    def place(path: str) -> str:
        resolved = files.resolve(path)
        shared = resolved.startswith("store/") and _stands_alone(files, path)
        return f"{home}/{resolved if shared else path}"

    return place


def send(
    lab: Lab,
    files: LabFiles,
    plan: Plan,
    store: Store,
    place: Callable[[str], str],
    *,
    with_runner: bool = False,
) -> Sent:
    """Copy the missing files that the plan's jobs need, each completely or not at all.

    A file goes to ``content``, named by its sum, unless it already exists there; then it gets its
    name in the Lab's own folder. ``place`` gives the keys of executables (``places``). Takes a
    constant number of round trips; ``with_runner``, which also does what ``send_runner`` does, no
    more. Raises StorageError when the store cannot be written, LabError when the Lab cannot be read
    or was changed: every byte that is sent is hashed.
    """
    home = lab_folder(lab)
    wanted = _wanted(files, home, _folders(plan, home, place))
    facts = {f"{home}/{path}": _facts(lab, files, path) for path in wanted.files}
    manifest, entry = _manifest(lab), _entry(lab, files)
    sum_of_entry = hashlib.sha256(entry).hexdigest()
    code = _runner() if with_runner else {}
    own = {**facts, **_facts_of(code), manifest: (_PLAIN, len(entry), sum_of_entry)}
    held = frozenset(store.holds(own))
    lacking = {key: fact for key, fact in facts.items() if key not in held}
    contents = {_content(fact): key.removeprefix(f"{home}/") for key, fact in lacking.items()}
    known = {_content(fact): fact for fact in lacking.values()}
    there = frozenset(store.holds(known)) if known else frozenset[str]()
    missing = {key: path for key, path in contents.items() if key not in there}
    metadata = [] if manifest in held else [*_metadata(lab, files), (manifest, _PLAIN, entry, "")]
    kept = store.kept({key: known[key] for key in missing})
    programs = _outgoing(files, missing, known, kept)
    total = sum(known[key][1] for key in missing) - sum(kept.values())
    runner = _outgoing_code(code, held)
    programs = progress.in_bytes(programs, total, "sending:")
    size = store.write_many(chain(programs, runner, metadata))
    if lacking:
        store.name_many({key: _content(fact) for key, fact in lacking.items()})
    links = store.link_many(wanted.links | {repx05.root(own_name(lab)): store.path(_manifest(lab))})
    size -= sum(len(content) for _, _, content, _ in runner)
    return Sent(files=len(lacking) + len(metadata) + links, size_bytes=size)


def _content(fact: Facts) -> str:
    """Return the key of a content; executable files have a separate key."""
    mode, _, sha256 = fact
    return f"content/{sha256}{'x' if mode & 0o100 else ''}"


def send_runner(store: Store) -> None:
    """Send the runner's own code to a store that lacks it. Raises StorageError.

    Existing files are checked, since a power cut may have left them empty.
    """
    code = _runner()
    missing = _outgoing_code(code, frozenset(store.holds(_facts_of(code))))
    if missing:
        store.write_many(missing)


def _runner() -> dict[str, bytes]:
    folder = runner_code.folder()
    return {f"{folder}/{name}": content for name, content in runner_code.files().items()}


def _facts_of(code: Mapping[str, bytes]) -> dict[str, Facts]:
    return {
        key: (_PLAIN, len(content), hashlib.sha256(content).hexdigest())
        for key, content in code.items()
    }


def _outgoing_code(
    code: Mapping[str, bytes], held: Collection[str]
) -> list[tuple[str, int, bytes, str]]:
    facts = _facts_of(code)
    return [
        (key, _PLAIN, content, facts[key][2]) for key, content in code.items() if key not in held
    ]


def _stands_alone(files: LabFiles, path: str) -> bool:
    folder, _, name = path.rpartition("/")
    above = folder.rpartition("/")[0]
    return files.names(folder) == [name] and all(
        other == "bin" or other.endswith(".json") for other in files.names(above)
    )


def _wanted(files: LabFiles, home: str, folders: Iterable[str]) -> _Wanted:
    """Find the shared files, the folders that programs run from, and the targets of links there."""
    wanted = _Wanted()
    todo = [*_SHARED, *folders]
    done: set[str] = set()
    for folder in todo:  # grows inside the loop
        if folder in done:
            continue
        done.add(folder)
        for path in _paths(files, folder):
            resolved = files.resolve(path)
            if resolved == path:
                if not path.endswith(_LAYER_SUFFIX):  # images are sent separately
                    wanted.files.append(path)
            elif files.kind(resolved):  # skip broken links
                todo.append(_folder(resolved))
                wanted.links[f"{home}/{path}"] = "../" * path.count("/") + resolved
    return wanted


def _paths(files: LabFiles, folder: str) -> Iterator[str]:
    if folder in _SHARED and files.kind(folder) not in (None, Kind.DIR):
        raise LabError(f"{files.describe(folder)}: a folder is wanted here")
    for path in files.walk(folder):
        if path.count("/") > _DEEPEST:
            problem = f"more than {_DEEPEST} folders deep, which no store takes"
            raise LabError(f"{files.describe(path[:_SHOWN])}…: {problem}")
        yield path


def _folders(plan: Plan, home: str, place: Callable[[str], str]) -> Iterator[str]:
    """Yield the folders of the Lab that the plan's programs run from, some more than once."""
    for task in progress.through(plan.tasks, "looking for programs:"):
        for executable in task.job.executables.values():
            folder = _folder(place(executable.path).removeprefix(f"{home}/"))
            if folder not in _SHARED:
                yield f"jobs/{task.job.id}"
                yield folder


def _folder(path: str) -> str:
    """Return the folder that is sent as a whole: one job's folder, or one at the Lab's root."""
    names = parts(path)
    return "/".join(names[: 2 if names[:1] == ["jobs"] else 1])


def _facts(lab: Lab, files: LabFiles, path: str) -> Facts:
    """Return mode, size and sha256 of a copy: a copy may be cut off or have lost its mode."""
    mode = _EXECUTABLE if files.is_executable(path) else _PLAIN
    return mode, files.size(path), lab.files.get(path) or _sum(files, path)


def _sum(files: LabFiles, path: str) -> str:
    with files.open(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _outgoing(
    files: LabFiles, paths: Mapping[str, str], facts: Mapping[str, Facts], kept: Mapping[str, int]
) -> Iterator[Outgoing]:
    """Yield the contents by key; ``paths`` has their paths in the Lab, ``kept`` what is there."""
    for key, path in paths.items():
        mode, _, expected = facts[key]
        with files.open(path) as source:
            checked = _Checked(source, expected, files.describe(path), kept.get(key, 0))
            yield key, mode, cast("BinaryIO", checked), expected


class _Checked:
    """A file of a Lab from ``start`` on; raises LabError at its end if its sum is not the Lab's."""

    def __init__(self, source: BinaryIO, expected: str, name: str, start: int) -> None:
        self._source = source
        self._expected = expected
        self._name = name
        self._digest = hashlib.sha256()
        self.start = start
        while start > 0 and (skipped := self.read(min(start, _CHUNK))):
            start -= len(skipped)

    def read(self, size: int) -> bytes:
        content = self._source.read(size)
        self._digest.update(content)
        if not content and self._digest.hexdigest() != self._expected:
            raise changed(self._name, self._expected, self._digest.hexdigest())
        return content


def _entry(lab: Lab, files: LabFiles) -> bytes:
    """Return the manifest in its form for a store.

    The manifest has the sums of all other files and is written last: if a store has the same
    manifest, it has the same metadata.
    """
    return _json(json.loads(files.read(lab.manifest)) | {"metadata": metadata_name(lab, "top")})


def _metadata(lab: Lab, files: LabFiles) -> list[Outgoing]:
    """Return the metadata without the manifest, under names with the Lab's id."""
    renamed = {run.metadata: metadata_name(lab, run.name) for run in lab.runs.values()}
    written = {}
    for path, name in renamed.items():
        document = json.loads(files.read(path))
        dependencies = document.get("dependencies") or {}
        document["dependencies"] = {renamed.get(k, k): v for k, v in dependencies.items()}
        written[f"{ARTIFACTS}/{name}"] = _json(document)
    root = json.loads(files.read(lab.metadata)) | {"runs": list(renamed.values())}
    written[f"{ARTIFACTS}/{metadata_name(lab, 'top')}"] = _json(root)
    return [(key, _PLAIN, content, "") for key, content in written.items()]


def _manifest(lab: Lab) -> str:
    return f"{ARTIFACTS}/lab/{own_name(lab)}-lab-metadata.json"


def _json(document: object) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
