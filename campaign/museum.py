"""A project with one of every file that repx reads, for mutation: see `campaign.fuzz`.

Commands of batch systems and ssh are short scripts in ``bin``, whose answers lie in ``answers``.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import sys
import tarfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from campaign.study import LAB, Study, Verdict, made
from tests.image_labs import layer, write_image

ELSEWHERE: Final = ("cluster", "batch", "far")
_DIALECT: Final = """
name: batch
submit: [qsub]
id: 'submitted ([0-9]+)'
after: [-W, "{ids}"]
join: ":"
query: [qstat]
job: '^(?P<id>\\d+)\\s+(?P<state>\\w+)'
states: {Q: queued, R: running}
cancel: [qdel]
"""
_SSH: Final = """\
while [[ $1 != -- ]]; do shift; done
shift 2
if [[ -f $answers/ssh && -s $answers/ssh ]]; then
  exec bash -c "$*" | exec "$python" "$answers/../bin/noise.py" "$answers/ssh"
fi
exec bash -c "$*"
"""
_NOISE: Final = """\
import os, sys, zlib
bad = open(sys.argv[1], "rb").read(100_000)
left = zlib.crc32(bad) % 5000
while data := os.read(0, 65536):
    if 0 <= left < len(data):
        data = data[:left] + bad + data[left + len(bad) // 2 :]
    left -= len(data)
    os.write(1, data)
"""
_COUNT: Final = 'echo x >>"$answers/count"; id=$(wc -l <"$answers/count")\n'
_PROGRAMS: Final[Mapping[str, str]] = {
    "sbatch": _COUNT
    + """\
[[ $1 != --version ]] || { echo slurm 22.05.8; exit; }
comment= index=N/A
for word in "$@"; do
  case $word in
    --comment=*) comment=${word#*=} ;;
    --array=*) index=${word#*=} ;;
    *.sh) script=$word ;;
  esac
done
[[ $index != N/A ]] || index=$(sed -n 's/^#SBATCH --array=//p' "$script" | head -n 1)
echo "$id|${index:-N/A}|RUNNING|1:02:03|n1|None|$comment" >>"$answers/squeue"
echo "$id|COMPLETED|00:00:01|n1" >>"$answers/sacct"
echo "$id"
""",
    "squeue": 'cat "$answers/squeue"\n',
    "sacct": 'cat "$answers/sacct"\n',
    "scontrol": 'cat "$answers/scontrol"\n',
    "scancel": "exit 0\n",
    "qsub": _COUNT + 'echo "$id R" >>"$answers/qstat"; echo "submitted $id"\n',
    "qstat": 'cat "$answers/qstat"\n',
    "qdel": "exit 0\n",
    "ssh": _SSH,
}
_SCRIPT: Final = """\
#!/usr/bin/env python3
import json, os, pathlib
out = pathlib.Path(os.environ["REPX_OUT"])
(out / "table.csv").write_text("a,b\\n1,2\\n")
(out / "rows.tsv").write_text("a\\tb\\n1\\t2\\n")
(out / "numbers.json").write_text('{"a": [1, 2.5, null]}')
(out / "notes.txt").write_text("some text\\n")
"""
_DEFINITION: Final[Mapping[str, object]] = {
    "pictured": {"outputs": {"p": "$out/p.txt"}, "run": "echo >p.txt"},
    "tables": {
        "script": "stage.py",
        "files": ["beside.txt"],
        "parameters": {"data": None},
        "outputs": {
            "table": "$out/table.csv",
            "rows": "$out/rows.tsv",
            "numbers": "$out/numbers.json",
            "notes": "$out/notes.txt",
        },
    },
    "failing": {"outputs": {"f": "$out/f.txt"}, "run": "echo why >&2; exit 5"},
}
_NOTES: Final = ("cancel", "forced", "unseen", "tries.tsv", "logs/2_0.out", "logs/first.out")
_SETTINGS: Final = f"""\
submission_target = "local"
[targets.local]
base_path = "{os.devnull}/old"
[targets.local.slurm]
execution_types = ["native"]
"""


@contextlib.contextmanager
def opened() -> Iterator[Study]:
    """Give the project, built and run at each of its targets."""
    with made() as study:
        _write(study.folder, study)
        verdict = Verdict()
        for words in (
            *(("build",), ("run", "-k", "--no-build"), ("status",), ("push", "--to", "archive")),
            *(("push", "--to", "archive.zip"), ("pull", "-o", "pulled"), ("targets", "check")),
            *(("run", "--target", name, "--stage", "first") for name in ELSEWHERE),
            *(("status", "--target", name) for name in ELSEWHERE),
        ):
            study.hear(study.start(*words, work_s=0), verdict)
        if verdict.failures:
            raise RuntimeError(verdict.notes)
        _close_one(study, verdict)
        own(study)
        _plant(study)
        yield study


def _write(folder: Path, study: Study) -> None:
    stages = {**LAB["stages"], **_DEFINITION}  # type: ignore[dict-item]  # a mapping
    runs = {
        "sweep": {"parameters": {"n": [1, 2]}, "pipelines": ["main"]},
        "more": {"parameters": {"data": {"files": "data/*.csv"}}, "pipelines": ["other"]},
        "pictures": {"pipelines": ["pictured"], "image": "box.tar"},
    }
    pipelines = {
        "main": ["first", "second", "spread"],
        "other": ["tables", "failing"],
        "pictured": ["pictured"],
    }
    lab = {"name": "museum", "stages": stages, "pipelines": pipelines, "runs": runs}
    (folder / "lab.yaml").write_text(json.dumps({**lab, "groups": {"all": ["sweep", "more"]}}))
    texts = {
        "stage.py": _SCRIPT,
        "beside.txt": "beside\n",
        "data/one.csv": "x\n1\n",
        "batch.yaml": _DIALECT,
        "rules.yaml": "rules: [{stage: first, cpus: 1}]\n",
        "answers/scontrol": "MaxArraySize            = 1001\nClusterName             = c\n",
        **{f"answers/{name}": "" for name in ("squeue", "sacct", "qstat", "ssh", "count")},
        "bin/noise.py": _NOISE,
        "home/.config/repx/config.toml": _SETTINGS,
        **{f"bin/{name}": _program(folder, text) for name, text in _PROGRAMS.items()},
    }
    for name, text in texts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
    _write_image(folder)
    store = str(study.store)
    far = {"base_path": f"{store}-far", "address": "far"}
    targets = {
        "here": {"base_path": store, "input_wait_s": 1, "cache": "archive"},
        "cluster": {"base_path": f"{store}-cluster", "scheduler": "slurm", "retries": 2},
        "batch": {"base_path": f"{store}-batch", "scheduler": {"dialect": "batch.yaml"}},
        "far": far,
    }
    (folder / "targets.yaml").write_text(json.dumps({"default": "here", "targets": targets}))


def _program(folder: Path, text: str) -> str:
    return f"#!/bin/bash\nanswers={folder}/answers python={sys.executable}\n{text}"


def _write_image(folder: Path) -> None:
    lab = folder / "image"
    (lab / "lab").mkdir(parents=True)
    write_image(lab, [layer({"a": "1"})], ["PATH=/bin"], path="images/x")
    with tarfile.open(folder / "box.tar", "w", dereference=True) as tar:
        tar.add(lab / "images/x", ".")
    shutil.rmtree(lab)


def _close_one(study: Study, verdict: Verdict) -> None:
    """Let what was submitted here be so old that repx packs it, and run something again."""
    long_ago = time.time() - 1000
    for path in study.store.glob("submissions/*/*"):
        os.utime(path, (long_ago, long_ago))
    for words in (("status",), ("run", "--force", "--only", "--no-build", "--stage", "first")):
        study.hear(study.start(*words, work_s=0), verdict)
    (study.folder / "lab.tar").write_bytes(_packed((study.folder / "result").resolve()))


def _plant(study: Study) -> None:
    """Add the notes that only some submissions and stores have."""
    for store in study.folder.glob("store*"):
        (store / "stale").mkdir(exist_ok=True)
        (store / "stale/0123").write_text('{"lab": "0123", "jobs": {}}\n')
        (store / "closed").mkdir(exist_ok=True)
        (store / "closed/ended.tsv").write_text("0-a-1.0\tfailed\ttimeout\n")
        for submission in store.glob("submissions/*"):
            for name in _NOTES:
                (submission / name).parent.mkdir(exist_ok=True)
                (submission / name).touch()


def _packed(lab: Path) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        tar.add(lab, "lab")
    return content.getvalue()


def own(study: Study) -> None:
    """Replace the link to the Lab by a folder of real files, so that these can be changed."""
    link = study.folder / "result"
    copy = study.folder / "copy"
    shutil.copytree(link.resolve(), copy, symlinks=True)
    for path in copy.rglob("*"):
        if not path.is_symlink():
            path.chmod(0o755)
    link.unlink()
    link.symlink_to(copy)
