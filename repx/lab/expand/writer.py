"""The files of a Lab, and the manifest that lists them."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Any

from repx.lab.expand.runs import check_same, runs_of
from repx.lab.expand.script import with_scripts
from repx.lab.expand.store import chunks, store_name, tree_digest
from repx.lab.expand.text import BlueprintError, dumps, nix_hash
from repx.lab.expand.variants import pname_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from repx.lab.expand.runs import RunJobs
    from repx.lab.expand.stages import Stage

    Progress = Callable[[int, int], None]

VERSION = 1


class _Writer:
    """Writes below one folder and remembers each file's checksum for the manifest."""

    def __init__(self, root: str) -> None:
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
        """Write a store entry once. Raises when its content is no longer what its name says."""
        name = source.get("name") or store_name(source)
        if os.path.lexists(f"{self.root}/store/{name}"):
            return
        if "tree" in source:
            tree = source["tree"]
            digests = {
                each: self.file(
                    f"store/{name}/{each}",
                    chunks(tree[each]),
                    executable=bool(tree[each].get("executable")),
                )
                for each in sorted(tree)
            }
            digest = tree_digest(digests, tree)
        else:
            executable = executable or bool(source.get("executable"))
            digest = self.file(f"store/{name}", chunks(source), executable=executable)
        if not name.startswith(digest[:32]):
            changed = source.get("path") or source["label"]
            raise BlueprintError(f"{changed} changed while the Lab was being built: build again")

    def job(self, jid: str, stage: Stage) -> None:
        """Write one job's folder: a link into the store for each executable."""
        os.mkdir(f"{self.root}/jobs/{jid}")
        os.mkdir(f"{self.root}/jobs/{jid}/bin")
        pname = pname_of(jid, stage.version)
        for each in stage.executables:
            path = f"jobs/{jid}/bin/{each.binary(pname)}"
            os.symlink(f"../../../store/{each.script}", f"{self.root}/{path}")
            self.files[path] = self.files[f"store/{each.script}"]


def sources_of(blueprint: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], bool]]:
    """Yield every store entry of a blueprint and whether it is executable."""
    for source in blueprint.get("files") or []:
        yield source, bool(source.get("executable"))
    for run in blueprint["runs"]:
        for pipeline in run["pipelines"]:
            for stage in pipeline["stages"]:
                for executable in stage["executables"].values():
                    yield executable["script"], True


def lab_id(blueprint: Mapping[str, Any]) -> str:
    """Return the Lab's id: a hash of all that decides its content.

    Sources count by what they hold, not by where they lie on this machine.
    """

    def named(value: Any) -> Any:  # noqa: ANN401  # any JSON value
        if isinstance(value, dict):
            if "label" in value and not value.keys().isdisjoint(("text", "path", "tree")):
                identity, executable = value.get("identity"), bool(value.get("executable"))
                return [value.get("name") or store_name(value), identity, executable]
            return {key: named(item) for key, item in value.items()}
        return [named(item) for item in value] if isinstance(value, list) else value

    return nix_hash(dumps(named(with_scripts(blueprint))))


def expand(
    blueprint: Mapping[str, Any], output: str, progress: Progress | None = None
) -> dict[str, int]:
    """Write the Lab to the folder ``output``, which is new or empty; return jobs by run.

    ``progress`` is called with the jobs written so far and their total. Raises BlueprintError
    for a blueprint that describes no Lab, OSError for what cannot be read or written.
    """
    if blueprint.get("version") != VERSION:
        raise BlueprintError(f"this is not a blueprint of version {VERSION}")
    blueprint = with_scripts(blueprint)
    runs = runs_of(blueprint)
    mask = os.umask(0o022)  # the same bytes and modes whoever builds
    try:
        os.makedirs(output, exist_ok=True)
        if os.listdir(output):
            raise BlueprintError(f"{output} is not empty")
        _write(blueprint, runs, _Writer(output), progress)
    finally:
        os.umask(mask)
    return {run.name: len(run.texts) for run in runs}


def _write(
    blueprint: Mapping[str, Any], runs: list[RunJobs], writer: _Writer, progress: Progress | None
) -> None:
    no_tools = hashlib.sha256(b"").hexdigest()
    for folder in ("jobs", "lab", "revision", "store", f"host-tools/{no_tools}/bin"):
        os.makedirs(f"{writer.root}/{folder}")
    for source, executable in sources_of(blueprint):
        writer.store(source, executable=executable)
    _write_jobs(runs, writer, progress)
    git = dumps(blueprint.get("git_hash") or "unknown")
    for run in runs:
        writer.file(f"revision/metadata-{run.name}.json", _run_metadata(run, git))
    identity = lab_id(blueprint)
    top = {
        "gitHash": blueprint.get("git_hash") or "unknown",
        "repx_version": blueprint["repx_version"],
        "runs": [f"revision/metadata-{run.name}.json" for run in runs],
        "type": "root",
    }
    if blueprint.get("groups"):
        top["groups"] = blueprint["groups"]
    if blueprint.get("own_names"):
        top["own_names"] = blueprint["own_names"]
    writer.file("revision/metadata-top.json", [dumps(top).encode()])
    readme = f"A Lab, built by repx {blueprint['repx_version']}. Run it with: repx run --lab DIR\n"
    writer.file("readme/README.md", [readme.encode()])
    writer.file(
        "lab/lab-metadata.json", _manifest(blueprint, identity, sorted(writer.files.items()))
    )


def _write_jobs(runs: list[RunJobs], writer: _Writer, progress: Progress | None) -> None:
    jobs: dict[str, tuple[str, Stage]] = {}
    for run in runs:
        for jid, text in run.texts.items():
            job = (text, run.stages[jid])
            check_same(jid, jobs.setdefault(jid, job), job)
    for done, jid in enumerate(sorted(jobs)):
        writer.job(jid, jobs[jid][1])
        if progress and done % 1000 == 0:
            progress(done, len(jobs))


def _run_metadata(run: RunJobs, git: str) -> Iterator[bytes]:
    dependencies = {
        f"revision/metadata-{name}.json": kind for name, kind in run.dependencies.items()
    }
    yield f'{{"dependencies":{dumps(dependencies)},"gitHash":{git},"jobs":{{'.encode()
    comma = ""
    for jid in sorted(run.texts):
        yield f'{comma}"{jid}":{run.texts[jid]}'.encode()
        comma = ","
    yield f'}},"name":{dumps(run.name)},"type":"run"}}'.encode()


def _manifest(
    blueprint: Mapping[str, Any], identity: str, files: list[tuple[str, str]]
) -> Iterator[bytes]:
    yield b'{"files":['
    comma = ""
    for path, digest in files:
        yield f'{comma}{{"path":{dumps(path)},"sha256":"{digest}"}}'.encode()
        comma = ","
    version = dumps(blueprint["lab_version"])
    yield f'],"labId":"{identity}","lab_version":{version}'.encode()
    yield b',"metadata":"revision/metadata-top.json"}'
