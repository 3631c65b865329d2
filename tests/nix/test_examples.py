"""Each example in both forms: the same jobs, parameters, results and analysis."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from repx.lab.build import build
from repx.lab.load import open_lab

if TYPE_CHECKING:
    from repx.model import Lab
    from tests.nix.machine import Nix

pytestmark = [
    pytest.mark.xdist_group("nix-examples"),
    pytest.mark.real,
    pytest.mark.needs("nix", "bwrap", "shellcheck"),
]

EXAMPLES: Final = Path(__file__).parents[2] / "examples"
NAMES: Final = ("compression", "image", "monte-carlo")
# Smaller in both forms alike, or without the image of lab.yaml, which Nix makes of packages.
CHANGES: Final = {
    "compression": (
        ("kilobytes: 1024", "kilobytes: 8"),
        ("kilobytes = 1024", "kilobytes = 8"),
        ("budget_s: 0.1", "budget_s: 0.001"),
        ("budget_s = 0.1", "budget_s = 0.001"),
        ("[1, 3, 6, 9]", "[1, 9]"),
        ("          3\n          6\n", ""),
    ),
    "image": (("image: rootfs/\n", ""),),
    "monte-carlo": (
        ("[1000, 4000, 16000, 64000, 256000]", "[1000, 256000]"),
        ("          4000\n          16000\n          64000\n", ""),
    ),
}
CLOCKED: Final = frozenset({"pack_seconds", "unpack_seconds", "row", "results", "table", "plot"})
# What anybody would write to look at results; it does not know which form the Lab is of.
READ: Final = """\
import hashlib, json
from repx_py import Lab
rows = []
for job in Lab.from_path("result").jobs():
    sums = {}
    for name, path in job.outputs.items():
        sums[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    rows.append([job.stage, str(job.status), dict(job.effective_params), sums])
print(json.dumps(sorted(rows, key=str)))
"""
COUNTS: Final = """\
from repx_py import Lab
for seed in (1, 2, 3):
    for word in ("be", "not"):
        (job,) = Lab.from_path("result").jobs(stage="count", seed=seed, word=word)
        print(seed, job.load_text("count").strip())
"""


@dataclass(frozen=True)
class Form:
    """A project with one form of an example, its Lab behind ``result``, which was run."""

    folder: Path
    lab: Lab
    nix: Nix

    def python(self, *words: str) -> str:
        """Return what a program that looks at the results prints."""
        done = run(self.nix, self.folder, sys.executable, *words)
        assert done.returncode == 0, done.stderr
        return done.stdout


def run(nix: Nix, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    path = f"/usr/bin:/bin:{os.environ['PATH']}"  # the Python that both use
    return subprocess.run(
        nix.inside(*words),
        capture_output=True,
        check=False,
        cwd=folder,
        env={**os.environ, "PATH": path},
        text=True,
    )


@pytest.fixture(scope="module", params=NAMES)
def forms(
    request: pytest.FixtureRequest, nix: Nix, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Form, Form]:
    """Return both forms of an example: of lab.yaml, and of Nix."""
    name: str = request.param
    made = []
    for kind in ("yaml", "nix"):
        folder = tmp_path_factory.mktemp(kind) / name
        shutil.copytree(EXAMPLES / name, folder)
        for file in (folder / "lab.yaml", folder / "lab.nix"):
            text = file.read_text(encoding="utf-8")
            for before, after in CHANGES[name]:
                text = text.replace(before, after)
            file.write_text(text, encoding="utf-8")
        (folder / "targets.yaml").write_text(
            "targets: {here: {base_path: store, runtime: native}}\n", encoding="utf-8"
        )
        if kind == "yaml":
            path = build(folder / "lab.yaml", folder / "result", lambda *_: None).path
        else:
            path = nix.build("import ./lab.nix { inherit pkgs repx; }", folder)
            (folder / "result").symlink_to(str(path).removeprefix(str(nix.store)))
        made.append(Form(folder, open_lab(path).lab, nix))
    for form in made:
        ran = run(nix, form.folder, sys.executable, "-m", "repx", "run")
        assert ran.returncode == 0, ran.stderr
    return made[0], made[1]


def described(lab: Lab) -> dict[str, list[Any]]:
    """Return each run's jobs without what identifies software: names, values, upstream jobs."""
    seen: dict[str, str] = {}

    def job(job_id: str) -> str:
        if job_id not in seen:
            found = lab.jobs[job_id]
            phases = {
                name: [
                    sorted(each.outputs),
                    sorted((each.target, each.source_output or "") for each in each.inputs),
                    sorted(each.deps),
                ]
                for name, each in found.executables.items()
            }
            needs = sorted(job(need) for need in lab.needs[job_id])
            hints = str(found.hints)
            name = job_id[33:].rpartition("-")[0]
            seen[job_id] = json.dumps([name, dict(found.params), phases, hints, needs], default=str)
        return seen[job_id]

    return {
        name: [str(dict(run.dependencies)), *sorted(job(each) for each in run.jobs)]
        for name, run in lab.runs.items()
    }


def test_both_forms_give_the_same_jobs(forms: tuple[Form, Form]) -> None:
    yaml, nix = forms

    assert described(yaml.lab) == described(nix.lab)


def test_both_forms_give_the_same_results(forms: tuple[Form, Form]) -> None:
    """The same lines of Python read both Labs and find the same parameters and bytes."""
    yaml, nix = (json.loads(form.python("-c", READ)) for form in forms)

    for rows in (yaml, nix):
        for _, status, _, files in rows:
            assert status == "succeeded"
            for name in CLOCKED.intersection(files if "compress" in str(forms) else ()):
                del files[name]
    assert yaml == nix


def test_the_analysis_of_an_example_reads_both_forms(forms: tuple[Form, Form]) -> None:
    own = (forms[0].folder / "analyse.py").exists()
    words = ("analyse.py",) if own else ("-c", COUNTS)

    yaml, nix = (unclocked(form.python(*words)) for form in forms)

    assert len(yaml.splitlines()) >= 6
    assert yaml == nix


def unclocked(text: str) -> str:
    """Return an analysis without job ids, and without what a clock said."""
    text = re.sub(r"[0-9a-z]{32}-", "", text)
    text = re.sub(r"(?:\| +[0-9.]+ ){2}\|$", "", text, flags=re.MULTILINE)
    return re.sub(r"jobs, [0-9.]+ s|fastest .*", "", text)
