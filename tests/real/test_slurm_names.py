"""On Slurm, too, a program gets the target's variables, and no variable changes our scripts."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

import pytest

from repx import assets
from tests.real.people import PYTHON
from tests.real.test_environment import HARMLESS, NAMES

if TYPE_CHECKING:
    from tests.real.slurm_place import Place

pytestmark = pytest.mark.slurm

SHOW: Final = (
    f"#!{PYTHON} -I\nimport json, os, sys\n"
    'json.dump(dict(os.environ), open(sys.argv[1] + "/o", "w"))\n'
    'open(sys.argv[1] + "/work_items.json", "w").write("[1, 2]")\n'
)
STEPS: Final[dict[str, tuple[str, tuple[str, ...], dict[str, object]]]] = {
    "one": ("", (), {}),
    "two": ("", ("one",), {}),
}
MINE: Final = {name: f"of the target: {name}" for name in NAMES if name != "PATH"}


def _jobs(place: Place) -> list[str]:
    """Add jobs of every kind whose programs write down their variables."""
    first = place.lab.job("plain")
    jobs = [first, *(place.lab.job("element", needs=[first]) for _ in range(2))]
    jobs.append(place.lab.scattered("spread", steps=STEPS))
    for path in place.lab.scripts:
        place.lab.scripts[path] = SHOW
    return jobs


def _shown(place: Place, jobs: list[str]) -> dict[str, dict[str, Any]]:
    """Return the variables of each unit, by its output's path."""
    found = [path for job in jobs for path in (place.store / "outputs" / job).rglob("out/o")]
    assert len(found) == 3 + 2 + 2 * 2
    return {str(path): json.loads(path.read_text()) for path in found}


@pytest.mark.parametrize("how", ["arrays", "bundle"])
def test_variables_of_the_target_reach_every_unit(place: Place, how: str) -> None:
    jobs = _jobs(place)
    bundle = {"bundle": {"name": "all", "stage": "*", "cpus": 2}} if how == "bundle" else {}
    place.target(environment=MINE, slurm=bundle)

    place.run()

    assert {"succeeded"} == set(place.states().values())
    for path, shown in _shown(place, jobs).items():
        assert {name: shown.get(name) for name in MINE} == MINE, path


def test_variables_of_the_caller_change_nothing_of_a_submission_by_hand(place: Place) -> None:
    """Of `submit.sh`, named by a relative path, from a shell with the oddest settings."""
    jobs = _jobs(place)
    place.target()
    place.repx("render", "-o", "out/rendered")
    (place.folder / "elsewhere/out/rendered").mkdir(parents=True)
    given = {name: HARMLESS.get(name, "5") for name in NAMES if name not in ("PATH", "HOME")}
    given |= {
        "SHELLOPTS": "braceexpand:errexit:hashall:noclobber:noglob:nounset:pipefail",
        "BASHOPTS": "failglob:nocasematch:cmdhist",
        "CDPATH": str(place.folder / "elsewhere"),
        "GLOBIGNORE": "*",
        "BASH_FUNC_printf%%": "() { echo hijacked; }",
        "BASH_FUNC_cd%%": "() { echo hijacked; }",
        "store": "/nowhere",
        "id": "5",
        "ids": "5",
    }

    process = place.begin(("bash", "out/rendered/submit.sh"), env=given)
    out, err = process.communicate(timeout=60)
    place.cluster.drain()

    assert 0 == process.returncode, out + err
    assert "hijacked" not in out + err
    assert {"succeeded"} == {place.states()[job] for job in jobs}


_VARIABLE: Final = re.compile(r"(?:^|[\s(])([a-z][a-z_]*)(?:=|\+=|\[)", re.MULTILINE)


def _ours() -> list[str]:
    """Return all names of variables in the scripts for Slurm."""
    scripts = [
        path
        for each in ("slurm*", "sbatch*", "submit*", "again*")
        for path in assets.path("templates").glob(each)
    ]
    found = {name for each in scripts for name in _VARIABLE.findall(each.read_text())}
    return sorted(name for name in found if not name.startswith("repx_"))


@pytest.mark.parametrize(
    "settings", [{}, {"bundle": {"name": "short", "stage": "plain*", "cpus": 2}}]
)
def test_names_of_ours_in_the_environment_reach_programs_as_given(
    place: Place, settings: dict[str, object]
) -> None:
    names = _ours()
    prologue = [f"export {name}='given to {name}'" for name in names]
    place.target(slurm={"prologue": prologue, **settings})
    show = f"for N in {' '.join(names)}; do printenv $N || echo $N lacks; done >o"
    jobs = [place.lab.job(f"plain{i}", show) for i in range(2)]
    scattered = place.lab.scattered("scattered", steps={"one": (show, (), {})})
    place.lab.run("run", [*jobs, scattered])

    client = place.start("run", **dict.fromkeys(names, "given to repx"))
    out, err = client.communicate(timeout=120)
    assert 0 == client.returncode, out + err
    place.cluster.drain()

    given = [f"given to {name}" for name in names]
    assert len(names) > 30
    assert given == place.out(jobs[0]).splitlines()
    assert given == place.out(jobs[1]).splitlines()
    assert given == place.out(f"{scattered}/branch-1/step-one").splitlines()
