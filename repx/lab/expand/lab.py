"""A whole Lab: its id, its jobs, its metadata and the manifest that lists every file."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Any

from repx.lab.expand.runs import check_same, runs_of
from repx.lab.expand.script import with_scripts
from repx.lab.expand.stages import leaves
from repx.lab.expand.store import store_name
from repx.lab.expand.text import BlueprintError, dumps, nix_hash
from repx.lab.expand.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from repx.lab.expand.runs import RunJobs
    from repx.lab.expand.stages import Stage

    Progress = Callable[[int, int], None]
    Add = Callable[[Writer], Mapping[str, str]]

VERSION = 1


def sources_of(blueprint: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], bool]]:
    """Yield every store entry of a blueprint and whether it is executable."""
    for source in blueprint.get("files") or []:
        yield source, bool(source.get("executable"))
    for run in blueprint["runs"]:
        for pipeline in run["pipelines"]:
            for stage in pipeline["stages"]:
                for leaf in leaves(stage):
                    for executable in leaf["executables"].values():
                        yield executable["script"], True


def lab_id(blueprint: Mapping[str, Any]) -> str:
    """Return the Lab's id: a hash of everything that determines its content.

    Sources count by their content, not by their paths on this machine.
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
    blueprint: Mapping[str, Any],
    output: str,
    progress: Progress | None = None,
    add: Add | None = None,
) -> dict[str, int]:
    """Write the Lab to the folder ``output``, which is new or empty; return jobs by run.

    ``progress`` is called with the jobs written so far and their total. ``add`` writes what the
    Lab contains besides its jobs and returns each run's image, if it has one. Raises BlueprintError
    for an invalid blueprint, OSError for files that cannot be read or written.
    """
    if blueprint.get("version") != VERSION:
        raise BlueprintError(f"this is not a blueprint of version {VERSION}")
    blueprint = with_scripts(blueprint)
    runs = runs_of(blueprint)
    mask = os.umask(0o022)  # the same modes for every user
    try:
        os.makedirs(output, exist_ok=True)
        if os.listdir(output):
            raise BlueprintError(f"{output} is not empty")
        _write(blueprint, runs, Writer(output), progress, add)
    finally:
        os.umask(mask)
    return {run.name: len(run.texts) for run in runs}


def _write(
    blueprint: Mapping[str, Any],
    runs: list[RunJobs],
    writer: Writer,
    progress: Progress | None,
    add: Add | None,
) -> None:
    for folder in ("jobs", "lab", "revision", "store"):
        os.makedirs(f"{writer.root}/{folder}")
    for source, executable in sources_of(blueprint):
        writer.store(source, executable=executable)
    _write_jobs(runs, writer, progress)
    images = add(writer) if add else {}
    if not os.path.isdir(f"{writer.root}/host-tools"):
        no_tools = hashlib.sha256(b"").hexdigest()
        os.makedirs(f"{writer.root}/host-tools/{no_tools}/bin")
    git = dumps(blueprint.get("git_hash") or "unknown")
    for run in runs:
        metadata = _run_metadata(run, git, images.get(run.name))
        writer.file(f"revision/metadata-{run.name}.json", metadata)
    writer.file("revision/metadata-top.json", [dumps(_top(blueprint, runs)).encode()])
    readme = f"A Lab, built by repx {blueprint['repx_version']}. Run it with: repx run --lab DIR\n"
    writer.file("readme/README.md", [readme.encode()])
    identity = lab_id({**blueprint, "images": images} if images else blueprint)
    manifest = _manifest(blueprint, identity, sorted(writer.files.items()))
    writer.file("lab/lab-metadata.json", manifest)


def _top(blueprint: Mapping[str, Any], runs: list[RunJobs]) -> dict[str, Any]:
    """Return the root metadata."""
    top = {
        "gitHash": blueprint.get("git_hash") or "unknown",
        "repx_version": blueprint["repx_version"],
        "runs": [f"revision/metadata-{run.name}.json" for run in runs],
        "type": "root",
    }
    optional = ("groups", "own_names", "provenance")
    top.update({name: blueprint[name] for name in optional if blueprint.get(name)})
    return top


def _write_jobs(runs: list[RunJobs], writer: Writer, progress: Progress | None) -> None:
    jobs: dict[str, tuple[str, Stage]] = {}
    for run in runs:
        for jid, text in run.texts.items():
            job = (text, run.stages[jid])
            check_same(jid, jobs.setdefault(jid, job), job)
    for done, jid in enumerate(sorted(jobs)):
        writer.job(jid, jobs[jid][1])
        if progress and done % 1000 == 0:
            progress(done, len(jobs))


def _run_metadata(run: RunJobs, git: str, image: str | None) -> Iterator[bytes]:
    dependencies = {
        f"revision/metadata-{name}.json": kind for name, kind in run.dependencies.items()
    }
    image_field = f'"image":{dumps(image)},' if image else ""
    yield f'{{"dependencies":{dumps(dependencies)},"gitHash":{git},{image_field}"jobs":{{'.encode()
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
