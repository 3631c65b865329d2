"""One file that repx reads is made wrong; every command that reads it must say so, or cope."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import random
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from campaign import museum, mutate, readers
from campaign.study import Study, Verdict, made

if TYPE_CHECKING:
    from campaign.readers import Told

Words = tuple[str, ...]

_CODES: Final = (0, 1, 2, 3)
_WORKERS: Final = os.cpu_count() or 1
_WORTH_IT: Final = 500  # mutations: each worker makes a project of its own first
_FRESH: Final = 100  # mutations, after which the project is laid out anew: commands leave things
_STATES: Final = ("status", "--json")

_LOOK: Final[tuple[Words, ...]] = (
    ("status",),
    ("list", "jobs"),
    ("run", "-n"),
    ("show", "job", "{job}"),
    ("log", "{job}"),
    ("show", "output", "{job}"),
    ("usage",),
    ("gc", "--images", "-n"),
    ("pull", "-o", "again"),
    ("cancel", "--all"),
    (readers.ANALYSIS, "{job}"),
)
_LAB: Final[tuple[Words, ...]] = (
    ("list", "runs"),
    ("list", "jobs"),
    ("verify",),
    ("run", "-n"),
    ("viz", "-o", "drawn.mmd"),
    ("render", "-o", "rendered"),
    ("trace-params",),
    ("diff", "lab.tar"),
    ("show", "job", "{job}"),
    (readers.ANALYSIS, "{job}"),
)
_TAR: Final[tuple[Words, ...]] = tuple(
    (verb, *rest, "--lab", "lab.tar")
    for verb, *rest in (("list", "jobs"), ("verify",), ("run", "-n"), ("status",))
)
_RUNNER: Final[tuple[Words, ...]] = ((readers.RUNNER,),)
_DEFINITION: Final[tuple[Words, ...]] = (
    ("build",),
    ("list", "jobs"),
    ("run", "-n"),
    ("diff", "lab.tar"),
)
_TARGETS: Final[tuple[Words, ...]] = (
    *(("targets",), ("run", "-n"), ("status",), ("render", "-o", "rendered")),
    ("run", "-n", "--resources", "rules.yaml"),
)
_ARCHIVE: Final[tuple[Words, ...]] = (
    ("pull", "--from", "archive", "-o", "again"),
    ("pull", "--from", "archive.zip", "-o", "again"),
    ("push", "--to", "archive"),
    ("push", "--to", "archive.zip"),
    ("run", "-n", "--force"),
)


def _at(target: str) -> tuple[Words, ...]:
    questions = (("status",), ("cancel", "--all"), ("run", "-n"), ("log", "{job}"), ("usage",))
    return tuple((*words, "--target", target) for words in questions)


@dataclass(frozen=True)
class Group:
    """Files of one kind: where they lie in the project, and what reads them.

    ``seal``: the Lab's manifest gets the sum of what was mutated. ``spares``: jobs whose id is
    not in the file's path stay succeeded.
    """

    patterns: tuple[str, ...]
    commands: tuple[Words, ...]
    seal: bool = False
    spares: bool = False
    weight: int = 1


_SUBMITTED: Final = (
    *("*.json", "*.jsonl", "*.tsv", "*.log", "agent.lock", "logs/*"),
    *("cancel", "forced", "unseen"),
)
GROUPS: Final[Mapping[str, Group]] = {
    "definition": Group(("lab.yaml",), _DEFINITION, weight=2),
    "project": Group(("stage.py", "beside.txt", "data/*.csv", "box.tar"), _DEFINITION),
    "profiles": Group(("targets.yaml", "rules.yaml", "batch.yaml"), _TARGETS, weight=2),
    "old settings": Group(("home/.config/repx/*.toml",), (("targets", "import", "-o", "again"),)),
    "metadata": Group(("copy/revision/*.json", "copy/images/*/*.json"), _LAB, seal=True, weight=2),
    "manifest": Group(("copy/lab/*.json", "copy/store/*", "copy/readme/*"), _LAB),
    "tar": Group(("lab.tar",), _TAR),
    "markers": Group(
        ("store/outputs/**/repx/*", "store/outputs/completions.jsonl"), _LOOK, spares=True, weight=3
    ),
    "results": Group(("store/outputs/*/out/*",), ((readers.ANALYSIS, "{job}"),)),
    "submissions": Group(
        tuple(f"store/submissions/*/{name}" for name in _SUBMITTED), _LOOK, spares=True, weight=2
    ),
    "closed": Group(
        ("store/closed/*", "store/stale/*"),
        _LOOK,
        spares=True,
    ),
    "artifacts": Group(("store/artifacts/**/*.json", "store/cache/**/*.lock"), _LOOK, spares=True),
    "by Slurm": Group(
        ("answers/s[qac]*", *(f"store-cluster/submissions/*/{name}" for name in _SUBMITTED)),
        _at("cluster"),
        weight=2,
    ),
    "by a dialect": Group(
        ("answers/qstat", *(f"store-batch/submissions/*/{name}" for name in _SUBMITTED)),
        _at("batch"),
    ),
    "far away": Group(("answers/ssh",), (*_at("far"), ("run", "-n", "--target", "far"))),
    "memory": Group(
        (".repx/*.json", ".repx/built/*", ".repx/ran/*", ".repx/labs/.lock", "home/.[cl]*/**/*"),
        (*_DEFINITION, *_TARGETS, ("verify",)),
    ),
    "archives": Group(("archive/entries/*", "archive/packs/*", "archive.zip"), _ARCHIVE),
    "pulled": Group(
        ("pulled/outputs/**/repx/*",), (("pull", "-o", "pulled"), ("status",)), spares=True
    ),
    "plans": Group(("store/submissions/*/plan.json",), _RUNNER),
    "job files": Group(("store/submissions/*/jobs/**/*.sh",), _RUNNER),
}


def run(budget: int, seed: int) -> Verdict:
    """Mutate ``budget`` files, on all cores; return what was broken."""
    count = _WORKERS if budget > _WORTH_IT else 1
    shares = [range(first, budget, count) for first in range(count)]
    with multiprocessing.get_context("spawn").Pool(count) as workers:
        verdict = Verdict()
        for part in workers.imap_unordered(partial(_share, seed=seed), shares):
            verdict.add(part)
    return verdict


def _share(numbers: range, *, seed: int) -> Verdict:
    verdict = Verdict()
    readers.load_everything()
    weights = [group.weight for group in GROUPS.values()]
    with museum.opened() as shown, made() as run_again, _kept(shown.folder) as spare:
        run_again.hear(run_again.start("run", work_s=0), verdict)
        museum.own(run_again)
        states = _succeeded(readers.read(shown, list(_STATES)))
        for count, number in enumerate(numbers):
            chance = random.Random(f"{seed}:{number}")
            (name,) = chance.choices(tuple(GROUPS), weights)
            study = run_again if GROUPS[name].commands is _RUNNER else shown
            if count % _FRESH == 0 or not _files(study, name):
                _lay_out_anew(shown.folder, spare)
            verdict.attacks += 1
            _attack(study, name, chance, states, verdict, f"seed {seed}:{number}")
    return verdict


def _attack(
    study: Study, name: str, chance: random.Random, states: set[str], verdict: Verdict, about: str
) -> None:
    group = GROUPS[name]
    path = chance.choice(_files(study, name))
    job = _job(path) or chance.choice(sorted(states))
    with _mutated(study, path, chance, seal=group.seal) as how:
        what = f"{about}: {name}: {path.relative_to(study.folder)}: {how}"
        for words in chance.sample(group.commands, min(2, len(group.commands))):
            told = readers.read(study, [word.format(job=job) for word in words])
            _judge(told, verdict, what)
        if group.spares:
            left = _succeeded(readers.read(study, list(_STATES)))
            lost = sorted(each for each in states - left if each not in str(path))
            verdict.lost += len(lost)
            verdict.notes += [f"{what}: not succeeded any more: {', '.join(lost)}"] if lost else []


def _files(study: Study, name: str) -> list[Path]:
    found = {path for each in GROUPS[name].patterns for path in study.folder.glob(each)}
    return sorted(path for path in found if path.is_file())


def _job(path: Path) -> str | None:
    names = [each.removesuffix(".sh") for each in path.parts]
    return next((each for each in names if each.count("-") > 1 and each[32:33] == "-"), None)


def _succeeded(told: Told) -> set[str]:
    try:
        jobs = json.JSONDecoder().raw_decode(told.text, told.text.index("{\n"))[0]["jobs"]
    except (ValueError, KeyError):
        return set()
    return {job for job, each in jobs.items() if each["state"] in ("succeeded", "stale")}


@contextmanager
def _kept(folder: Path) -> Iterator[Path]:
    """Give a copy of the project as it was in the beginning."""
    spare = folder.with_name(f"{folder.name}-spare")
    _copy(folder, spare)
    try:
        yield spare
    finally:
        shutil.rmtree(spare)


def _lay_out_anew(folder: Path, spare: Path) -> None:
    for path in folder.iterdir():
        _remove(path)
    _copy(spare, folder)
    for path in folder.glob("store*/submissions/*/*"):
        path.touch()  # what has been quiet for a minute is closed


def _copy(source: Path, to: Path) -> None:
    subprocess.run(["cp", "-a", f"{source}/." if to.exists() else str(source), str(to)], check=True)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def _mutated(study: Study, path: Path, chance: random.Random, *, seal: bool) -> Iterator[str]:
    """Make a file wrong for a while; give what was done to it."""
    result = study.folder / "result"
    lab = result.readlink()
    manifest = next((result / "lab").iterdir())
    before, sealed, mode = path.read_bytes(), manifest.read_bytes(), path.stat().st_mode
    how = mutate.file(path, before, chance)
    if seal and path.is_file():
        copied = path.relative_to(study.folder / "copy")
        manifest.write_bytes(_resealed(sealed, copied, path.read_bytes()))
    try:
        yield how
    finally:
        result.unlink(missing_ok=True)  # a build may have pointed it elsewhere
        result.symlink_to(lab)
        _remove(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(before)
        path.chmod(mode)
        manifest.write_bytes(sealed)  # itself perhaps the file that was replaced
        for name in ("rendered", "drawn.mmd", "again"):
            _remove(study.folder / name)


def _resealed(manifest: bytes, path: Path, content: bytes) -> bytes:
    """Return the manifest with the sum that the changed file has now."""
    document = json.loads(manifest)
    for entry in document["files"]:
        if entry["path"] == str(path):
            entry["sha256"] = hashlib.sha256(content).hexdigest()
    return json.dumps(document).encode()


_WRONG: Final[tuple[tuple[str, Callable[[Told], bool]], ...]] = (
    ("an exit code that means nothing", lambda told: told.code not in _CODES),
    ("a traceback", lambda told: "Traceback" in told.text),
    ("not a word", lambda told: told.code in (2, 3) and not told.text),
    (
        "no error",
        lambda told: (
            told.code in (2, 3) and "error: " not in told.text and told.words[0] != readers.RUNNER
        ),
    ),
)


def _judge(told: Told, verdict: Verdict, what: str) -> None:
    if told.code is None:
        verdict.stuck += 1
        verdict.notes.append(f"stuck: {told.words}: {what}")
        return
    wrong = next((why for why, holds in _WRONG if holds(told)), None)
    if wrong:
        verdict.rude += 1
        verdict.notes.append(f"{told.words}: {wrong}, exit {told.code}: {what}\n{told.text[-600:]}")
