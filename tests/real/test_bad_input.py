"""Bad input as a user sees it: the exact words, the exit code, and what is left behind."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from tests.real.place import Place

Golden = Callable[[str, str], None]

# --- no Lab, a broken Lab --------------------------------------------------------------------


def test_no_lab(empty: Place, golden: Golden) -> None:
    lines = ("run", "run --lab nowhere", "status", "list runs", "show job x", "verify", "build")
    said = empty.session(*lines)

    golden("bad-input/no-lab.txt", said)
    assert empty.left() == ["targets.yaml"]
    assert not empty.store.exists()


BROKEN: Final[dict[str, Callable[[Path], object]]] = {
    "an empty folder": lambda lab: lab.mkdir(),
    "a folder without manifest": lambda lab: (lab / "lab").mkdir(parents=True),
    "a manifest that is not JSON": lambda lab: _manifest(lab, "{"),
    "a manifest without content": lambda lab: _manifest(lab, "{}"),
    "a manifest of another kind": lambda lab: _manifest(lab, "[]"),
    "a link to nothing": lambda lab: lab.symlink_to("gone"),
    "an empty file": lambda lab: lab.write_bytes(b""),
    "a file of another kind": lambda lab: lab.write_bytes(b"#!/bin/sh\n" * 200),
}


def _manifest(lab: Path, text: str) -> None:
    (lab / "lab").mkdir(parents=True)
    (lab / "lab/lab-metadata.json").write_text(text)


def test_a_broken_lab(empty: Place, golden: Golden) -> None:
    lab = empty.folder / "result"
    said = ""
    for name, make in BROKEN.items():
        make(lab)
        said += f"# {name}\n" + empty.session("run")
        shutil.rmtree(lab) if lab.is_dir() else lab.unlink()

    golden("bad-input/broken-lab.txt", said)
    assert not empty.store.exists()


def test_parts_of_a_lab_are_missing(recorded: Callable[..., Place], golden: Golden) -> None:
    here = recorded("simple-two-runs")
    said = ""
    for part in ("revision/metadata-top.json", "jobs", "host-tools"):
        path = here.folder / "result" / part
        path.rename(here.folder / "away")
        said += f"# no {part}\n" + here.session("run", "status")
        (here.folder / "away").rename(path)

    golden("bad-input/parts-missing.txt", said)
    assert not here.store.exists()


def test_a_tampered_file(recorded: Callable[..., Place], golden: Golden) -> None:
    here = recorded("simple-two-runs")
    (script,) = here.folder.glob("result/jobs/*/bin/stage-c-total")
    script.chmod(0o755)
    with script.open("a") as stream:
        stream.write("# more\n")
    said = here.session("run", "verify", "render -o scripts", "run --dry-run")

    golden("bad-input/tampered.txt", said)
    assert not here.store.exists()
    assert not (here.folder / "scripts").exists()


# --- names -----------------------------------------------------------------------------------


def test_names_that_nobody_knows(recorded: Callable[..., Place], golden: Golden) -> None:
    here = recorded("simple-two-runs")
    lines = (
        "run simulation-rum",
        "run zzz",
        "run @nightly",
        "run 1",
        "run ''",
        "run simulation-run --stage stage-b",
        "status analysis",
        "status --follow analysis",
        "log stage-a",
        "show job 1",
        "cancel nothing",
        "cancel",
        "cancel analysis-run",
        "cancel --all",
        "cancel analysis-run --all",
        "run --target there",
        "rnu",
        "run --kep-going",
        "run -j none",
        "run --mem lots",
        "list job",
    )
    golden("bad-input/names.txt", here.session(*lines))
    assert not here.store.exists()


# --- lab.yaml --------------------------------------------------------------------------------

MAKE: Final = '{outputs: {o: $out/o}, run: "echo 1 > ${outputs[o]}"}'
READ: Final = '{inputs: [o], outputs: {p: $out/p}, run: "cat ${inputs[o]} > ${outputs[p]}"}'
MISTAKES: Final[dict[str, str]] = {
    "cycle": """\
stages:
  a: {inputs: [p], outputs: {o: $out/o}, run: "cat ${inputs[p]} > ${outputs[o]}"}
  b: {inputs: [o], outputs: {p: $out/p}, run: "cat ${inputs[o]} > ${outputs[p]}"}
pipelines: {main: [a, b]}
runs: {r: {dependencies: [s]}, s: {dependencies: [r]}}
""",
    "needs itself": """\
stages:
  a: {inputs: [o], outputs: {o: $out/o}, run: "cat ${inputs[o]} > ${outputs[o]}"}
pipelines: {main: {a: [a]}}
runs: {r: {}}
""",
    "nobody produces": f"""\
stages:
  a: {MAKE}
  b: {{inputs: [oo], outputs: {{p: $out/p}}, run: "cat ${{inputs[oo]}} > ${{outputs[p]}}"}}
  c: {READ}
pipelines:
  implicit: [a, b]
  explicit: {{a: [], c: [[a, result, o]]}}
  unknown: [a, d]
runs: {{r: {{}}}}
""",
    "empty sweep": f"""\
stages: {{a: {{parameters: {{x: 1}}, {MAKE[1:]}}}
pipelines: {{main: [a]}}
runs:
  none: {{parameters: {{x: []}}}}
""",
    "empty range": f"""\
stages: {{a: {{parameters: {{x: 1, y: 1, z: 1}}, {MAKE[1:]}}}
pipelines: {{main: [a]}}
runs:
  range: {{parameters: {{x: {{range: [5, 1]}}}}}}
  files: {{parameters: {{x: {{files: "data/*.csv"}}}}}}
  zip: {{zip: [{{y: [1, 2], z: [1]}}]}}
""",
    "duplicate names": f"""\
stages: {{a: {MAKE}, b: {{outputs: {{p: $out/o, q: $out/o}}, run: "touch o"}}}}
pipelines: {{main: [a, b]}}
runs: {{r: {{}}}}
groups: {{r: [r]}}
""",
    "listed twice": f"""\
stages: {{a: {MAKE}}}
pipelines: {{main: [a, a]}}
runs: {{r: {{pipelines: [main, main]}}}}
""",
    "duplicate keys": f"""\
stages: {{a: {MAKE}, a: {MAKE}}}
pipelines: {{main: [a]}}
runs:
  r: {{}}
  r: {{}}
""",
    "unknown keys": f"""\
stage: {{}}
stages:
  a: {{parametres: {{x: 1}}, {MAKE[1:]}
pipelines: {{main: [a]}}
runs: {{r: {{parameter: {{x: 1}}}}}}
group: {{}}
""",
    "wrong types": """\
name: 7
stages:
  a: {version: 1.0, parameters: 3, inputs: o, outputs: [o], run: [true]}
  b: {run: "true", resources: {cpus: many, mem: 12, time: soon}}
pipelines: [a]
runs: {r: {pipelines: main, parameters: {n: {range: [a, 2]}}}}
""",
    "tabs": "stages:\n\ta:\n\t\trun: 'true'\npipelines: {main: [a]}\nruns: {r: {}}\n",
    "not closed": "stages: {a: [\n",
    "empty": "",
    "other text": "dear diary\n",
    "bash": """\
stages:
  a:
    run: |
      if true; then
        echo "never closed"
pipelines: {main: [a]}
runs: {r: {}}
""",
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_in_lab_yaml(empty: Place, golden: Golden, name: str) -> None:
    empty.write("lab.yaml", MISTAKES[name])

    golden(f"bad-input/lab-yaml/{name.replace(' ', '-')}.txt", empty.session("build"))
    assert empty.left() == ["lab.yaml", "targets.yaml"]


def test_a_failed_build_keeps_the_lab_of_before(defined: Callable[..., Place]) -> None:
    good = f"stages: {{a: {MAKE}}}\npipelines: {{main: [a]}}\nruns: {{r: {{}}}}\n"
    here = defined(good)
    before = (here.folder / "result").resolve()
    here.write("lab.yaml", good.replace("run:", "rum:"))
    here.repx("build", code=2)

    assert (here.folder / "result").resolve() == before
    here.repx("run", code=2)  # which builds first
    here.repx("run", "--no-build")


# --- targets.yaml ----------------------------------------------------------------------------

PROFILES: Final[dict[str, str]] = {
    "unknown keys": "targets:\n  a: {base_path: s, schduler: local, slurm: {partion: x}}\n",
    "wrong types": "targets:\n  a: {base_path: 3, retries: many, runtime: podmann, mem: 1}\n",
    "no base path": "targets: {a: {}}\n",
    "none": "targets: {}\n",
    "several": "targets: {a: {base_path: s}, b: {base_path: t}}\n",
    "duplicate": "targets:\n  a: {base_path: s}\n  a: {base_path: t}\n",
    "tab": "targets:\n\ta: {base_path: s}\n",
    "unknown variable": "targets:\n  a: {base_path: '${NO_SUCH_PLACE}/s'}\n",
    "templates": "targets: {a: {base_path: s, templates: nowhere}}\n",
    "rules": "targets:\n  a: {base_path: s, resources: {rules: [{mem: lots, cpus: 0}]}}\n",
}


def test_mistakes_in_targets_yaml(recorded: Callable[..., Place], golden: Golden) -> None:
    here = recorded("sweep")
    said = ""
    for name, text in PROFILES.items():
        here.write("targets.yaml", text)
        said += f"# {name}\n" + here.session("run")
        shutil.rmtree(here.folder / "s", ignore_errors=True)
    said += here.session("run --targets nowhere.yaml", "run --target a --resources nowhere.yaml")

    golden("bad-input/targets-yaml.txt", said)
    assert here.left() == ["result", "targets.yaml"]


def test_options_of_sbatch_that_a_lab_may_not_set(empty: Place, golden: Golden) -> None:
    empty.use(scheduler="slurm", slurm={"max_array_size": 1000})
    said = ""
    for opt in ("--outp=/etc/x", "-Oo/etc/x", "--acount=x", "--uid 0", "--exclusive job.sh"):
        stage = {"outputs": {"o": "$out/o"}, "run": "touch o", "resources": {"sbatch_opts": [opt]}}
        lab = {"stages": {"fit": stage}, "pipelines": {"p": ["fit"]}, "runs": {"r": {}}}
        empty.write("lab.yaml", json.dumps(lab))
        empty.repx("build")
        said += f"# {opt}\n" + empty.session("render -o scripts", "run --dry-run", "run")
        assert not empty.store.exists()
        assert not (empty.folder / "scripts").exists()

    golden("bad-input/sbatch-opts.txt", said)


def test_a_target_that_does_not_exist(recorded: Callable[..., Place], golden: Golden) -> None:
    here = recorded("sweep")
    said = here.session("run --target heer", "targets check heer")
    (here.folder / "targets.yaml").unlink()
    said += here.session("run --target heer")

    golden("bad-input/unknown-target.txt", said)
    assert not here.store.exists()


# --- the store -------------------------------------------------------------------------------


def test_a_store_that_is_a_file(recorded: Callable[..., Place], golden: Golden) -> None:
    here = recorded("sweep")
    here.store.write_text("mine\n")
    said = here.session("run", "status", "cancel --all", "render -o scripts")

    golden("bad-input/store-is-a-file.txt", said)
    assert here.store.read_text() == "mine\n"
    assert json.loads((here.folder / "targets.yaml").read_text())["targets"]
