"""One file that repx reads is made wrong; every command that reads it must say so, or cope."""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from campaign import mutate, readers
from campaign.study import Study, Verdict, made

if TYPE_CHECKING:
    from campaign.readers import Told

_CODES: Final = (0, 1, 2, 3)

_LOOK: Final = (
    ("status",),
    ("status", "all", "--json"),
    ("list", "jobs"),
    ("run", "-n"),
    ("show", "job", "{job}"),
    ("log", "{job}"),
    ("show", "output", "{job}"),
    (readers.ANALYSIS, "{job}"),
)
_LAB: Final = (
    ("list", "runs"),
    ("list", "jobs"),
    ("verify",),
    ("run", "-n"),
    ("viz", "-o", "drawn.mmd"),
    ("render", "-o", "rendered"),
    ("trace-params",),
    ("show", "job", "{job}"),
    (readers.ANALYSIS, "{job}"),
)
_RUNNER: Final = ((readers.RUNNER,),)
_DEFINITION: Final = (("build",), ("list", "jobs"), ("run", "-n"))
_TARGETS: Final = (("targets",), ("run", "-n"), ("status",))


@dataclass(frozen=True)
class Group:
    """Files of one kind: which of a study's, what is mutated, and what reads them."""

    files: Callable[[Study], list[Path]]
    commands: tuple[tuple[str, ...], ...]
    seal: bool = False


def run(budget: int, seed: int) -> Verdict:
    """Mutate ``budget`` files; return what was broken."""
    verdict = Verdict()
    with made() as looked_at, made() as run_again:
        for each in (looked_at, run_again):
            each.finish(each.start("run", work_s=0), verdict)
            _own(each)
        (job,) = sorted(path.name for path in looked_at.store.glob("outputs/*-second-*"))[:1]
        for number in range(budget):
            chance = random.Random(f"{seed}:{number}")
            group = chance.choice(_GROUPS)
            study = run_again if group.commands is _RUNNER else looked_at
            path = chance.choice(group.files(study))
            with _mutated(study, path, chance, seal=group.seal) as content:
                verdict.attacks += 1
                words = chance.choice(group.commands)
                told = readers.read(study, [word.format(job=job) for word in words])
                _judge(told, verdict, f"seed {seed}:{number}, {path.name}, {content[:60]!r}")
    return verdict


def _own(study: Study) -> None:
    """Replace the link to the Lab by a folder of real files, so that these can be changed."""
    link = study.folder / "result"
    copy = study.folder / "copy"
    shutil.copytree(link.resolve(), copy, symlinks=True)
    for path in copy.rglob("*"):
        if not path.is_symlink():
            path.chmod(0o755)
    link.unlink()
    link.symlink_to(copy)


def _of_store(study: Study) -> list[Path]:
    names = ("SUCCESS", "FAIL", "*.json", "*.jsonl", "*.tsv", "*.lock", "lock", "ended", "*.log")
    found = [path for name in names for path in study.store.rglob(name) if path.is_file()]
    return sorted(path for path in found if "artifacts" not in path.parts)


def _of_submission(study: Study) -> list[Path]:
    """Return what the runner and bash read of a submission, but for what all have."""
    names = ("plan.json", "jobs/*.sh", "jobs/*/*.sh")
    found = [path for name in names for path in study.store.glob(f"submissions/*/{name}")]
    return sorted(found, key=lambda path: (path.name != "plan.json", path))


def _of_ours(study: Study) -> list[Path]:
    """Return what repx has noted for itself: of builds, answers and files that it has read."""
    folders = (study.folder / ".repx", study.folder / "home")
    found = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    return sorted(path for path in found if "labs" not in path.parts)


_GROUPS: Final = (
    Group(lambda study: [study.folder / "lab.yaml"], _DEFINITION),
    Group(lambda study: [study.folder / "targets.yaml"], _TARGETS),
    Group(lambda study: sorted((study.folder / "result").glob("revision/*.json")), _LAB, seal=True),
    Group(lambda study: sorted((study.folder / "result").glob("lab/*.json")), _LAB),
    Group(_of_store, _LOOK),
    Group(_of_store, _LOOK),
    Group(_of_submission, _RUNNER),
    Group(lambda study: _of_submission(study)[:1], _RUNNER),
    Group(_of_ours, (*_DEFINITION, *_TARGETS)),
)


@contextlib.contextmanager
def _mutated(study: Study, path: Path, chance: random.Random, *, seal: bool) -> Iterator[bytes]:
    result = study.folder / "result"
    lab = result.readlink()
    manifest = next((result / "lab").iterdir())
    before, sealed = path.read_bytes(), manifest.read_bytes()
    content = mutate.text(before, chance)
    path.write_bytes(content)
    if seal:
        manifest.write_bytes(_resealed(sealed, path.relative_to(result), content))
    try:
        yield content
    finally:
        result.unlink()  # a build may have pointed it elsewhere
        result.symlink_to(lab)
        manifest.write_bytes(sealed)
        path.write_bytes(before)
        shutil.rmtree(study.folder / "rendered", ignore_errors=True)
        (study.folder / "drawn.mmd").unlink(missing_ok=True)


def _resealed(manifest: bytes, path: Path, content: bytes) -> bytes:
    """Return the manifest with the sum that the changed file has now."""
    document = json.loads(manifest)
    for entry in document["files"]:
        if entry["path"] == str(path):
            entry["sha256"] = hashlib.sha256(content).hexdigest()
    return json.dumps(document).encode()


def _judge(told: Told, verdict: Verdict, what: str) -> None:
    if told.code is None:
        verdict.stuck += 1
        verdict.notes.append(f"stuck: {told.words}: {what}")
    elif told.code not in _CODES or "Traceback" in told.text:
        verdict.rude += 1
        verdict.notes.append(f"{told.words}: exit {told.code}: {what}\n{told.text[-600:]}")
    elif told.code in (2, 3) and not told.text:
        verdict.rude += 1
        verdict.notes.append(f"{told.words}: exit {told.code} without a word: {what}")
    elif told.code in (2, 3) and "error: " not in told.text and told.words[0] != readers.RUNNER:
        verdict.rude += 1
        verdict.notes.append(f"{told.words}: exit {told.code} without an error: {what}")
