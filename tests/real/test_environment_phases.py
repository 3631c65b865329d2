"""Units of a scatter-gather job get the same environment as any program, whatever the names are."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any, Final

import pytest

from tests.real.folders import Folder, MakeFolder, Work
from tests.real.test_environment import HARMLESS, NAMES

pytestmark = pytest.mark.real

SHOW: Final = (
    f"#!{sys.executable} -I\nimport json, os, sys\n"
    'json.dump(dict(os.environ), open(sys.argv[1] + "/o.txt", "w"))\n'
    'open(sys.argv[1] + "/work_items.json", "w").write("[1, 2]")\n'
)
SPREAD: Final = Work(scatter="-", steps={"one": ("-", ()), "two": ("-", ("one",))}, body="-")
GIVEN: Final = {name: HARMLESS.get(name, "5") for name in NAMES} | {"PATH": os.environ["PATH"]}
BARE: Final = {"PATH": os.environ["PATH"], "HOME": "/nowhere"}
MINE: Final = {name: f"of the target: {name}" for name in NAMES}


def _shown(made: Folder) -> dict[str, dict[str, Any]]:
    """Return each unit's variables, without those that differ from unit to unit."""
    found = {}
    for path in made.home("job").rglob("out/o.txt"):
        shown = json.loads(path.read_text())
        assert shown.pop("REPX_UNIT").startswith(f"{path.parents[1]}#")
        assert shown.pop("PWD") == str(path.parent)
        shown.pop("LC_CTYPE", None)  # that Python sets for itself
        found[str(path)] = shown
    assert len(found) == 1 + 2 * 2 + 1
    return found


@pytest.mark.parametrize("how", ["agent", "by hand"])
@pytest.mark.parametrize(
    ("given", "mine"), [(GIVEN, {}), (BARE, MINE)], ids=["of the caller", "of the target"]
)
def test_every_unit_gets_the_variables_as_they_are(
    folder: MakeFolder, given: dict[str, str], mine: dict[str, str], how: str
) -> None:
    made = folder({"job": SPREAD}, environment=mine)
    for program in made.base.glob("artifacts/jobs/job/bin/*"):
        program.write_text(SHOW)
    if how == "agent":
        words, more = (
            ["bash", str(made.path / "run.sh"), "--quiet"],
            {"REPX_PYTHON": sys.executable},
        )
    else:
        words, more = ["bash", str(made.path / "jobs/job.sh")], {}

    done = subprocess.run(words, env={**given, **more}, capture_output=True, text=True, check=False)

    assert 0 == done.returncode, done.stderr
    for path, shown in _shown(made).items():
        assert {**given, **mine} == shown, path
