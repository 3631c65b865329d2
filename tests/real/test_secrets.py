"""Secrets of any name and value are the program's alone, by hand and by the agent alike."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Final

import pytest

from repx.config.profile import OF_BASH
from repx.target import Secret
from tests.real.folders import Folder, MakeFolder, Work
from tests.real.test_environment import HARMLESS, NAMES, SHOW

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.real

WAYS: Final = ["agent", "by hand"]
VALUES: Final = {
    "lines": "one\n\nthree\n\n",
    "empty": "",
    "only newlines": "\n\n\n",
    "quotes": 'it\'s "so" `id` $(id) $HOME \\ \\n %s %d',
    "blanks": "  a \t b  ",
    "not ascii": "paßwört 秘密",
    "looks like options": "--name -n",
    "looks like an assignment": "A=1 B=2; exit 3",
    "return": "x\r\ny\r\n",
    "long": "s" * 90_000,
}
INNER: Final = ("index", "path", "entry", "open", "hidden", "secrets", "given", "name", "names")


def _start(made: Folder, how: str, given: dict[str, str]) -> tuple[int, str]:
    if how == "agent":
        words = ["bash", str(made.path / "run.sh"), "--quiet"]
        given = {**given, "REPX_PYTHON": sys.executable}
    else:
        words = ["bash", str(made.path / "jobs/job.sh")]
    done = subprocess.run(words, env=given, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def _made(folder: MakeFolder, **target: object) -> Folder:
    made = folder({"job": Work()}, **target)
    (made.base / "artifacts/jobs/job/bin/main").write_text(SHOW)
    return made


def _shown(made: Folder) -> dict[str, str]:
    found = dict(json.loads((made.home("job") / "out/o.txt").read_text()))
    assert str(made.home("job") / "out") == found.pop("PWD")
    assert found.pop("REPX_UNIT")
    found.pop("LC_CTYPE", None)  # that Python sets for itself
    return found


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("kind", ["file", "env"])
def test_a_secret_may_have_any_name(
    folder: MakeFolder, tmp_path: Path, kind: str, how: str
) -> None:
    """Name by name, whatever bash makes of these names, and beside all the same ones given."""
    value = "5 a'b\n\nc"
    (tmp_path / "token").write_text(f"{value}\n")
    source = "GIVEN" if kind == "env" else str(tmp_path / "token")
    names = [name for name in (*NAMES, *INNER) if name not in OF_BASH]
    made = _made(folder, secrets={name: Secret(kind=kind, source=source) for name in names})
    given = {name: HARMLESS.get(name, "7") for name in NAMES} | {"GIVEN": value}
    given["PATH"] = os.environ["PATH"]

    code, said = _start(made, how, given)

    assert 0 == code, said
    assert {**given, **dict.fromkeys(names, value)} == _shown(made)


@pytest.mark.parametrize("how", WAYS)
def test_a_variable_that_bash_changes_may_hold_a_secret(folder: MakeFolder, how: str) -> None:
    sources = [name for name in NAMES if name not in OF_BASH]
    secrets = {f"S_{name}": Secret(kind="env", source=name) for name in sources}
    made = _made(folder, secrets=secrets)
    given = {name: HARMLESS.get(name, "x y") for name in NAMES} | {"PATH": os.environ["PATH"]}

    code, said = _start(made, how, given)

    assert 0 == code, said
    assert {**given, **{f"S_{name}": given[name] for name in sources}} == _shown(made)


@pytest.mark.parametrize("how", WAYS)
def test_what_the_target_says_comes_before_what_the_caller_has(
    folder: MakeFolder, how: str
) -> None:
    """A variable that holds a secret may have another value for the program."""
    secrets = {"A": Secret(kind="env", source="B")}
    made = _made(folder, secrets=secrets, environment={"B": "of the target"})
    given = {"PATH": os.environ["PATH"], "A": "of the caller", "B": "s3cr3t"}

    code, said = _start(made, how, given)

    assert 0 == code, said
    assert {**given, "A": "s3cr3t", "B": "of the target"} == _shown(made)


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("kind", ["file", "env"])
@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_a_secret_may_have_any_value(
    folder: MakeFolder, tmp_path: Path, value: str, kind: str, how: str
) -> None:
    (tmp_path / "token").write_text(value)
    source = "GIVEN" if kind == "env" else str(tmp_path / "token")
    made = _made(folder, secrets={"A": Secret(kind=kind, source=source)})

    code, said = _start(made, how, {"PATH": os.environ["PATH"], "GIVEN": value})

    assert 0 == code, said
    wanted = value if kind == "env" else value.rstrip("\n")
    assert wanted == _shown(made)["A"]


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("/nowhere/token", "A: cannot read /nowhere/token"),
        ("~/token", "A: cannot read /nobody/token"),
        ("FOLDER", "A: cannot read FOLDER"),
        ("FOLDER/pipe", "A: cannot read FOLDER/pipe"),
        ("FOLDER/nul", "A: FOLDER/nul has a NUL byte"),
        ("FOLDER/large", "A: FOLDER/large is longer than a variable may be"),
        ("UNSET", "A: the variable UNSET is not set"),
    ],
)
def test_a_secret_that_cannot_be_had_fails_the_job(
    folder: MakeFolder, tmp_path: Path, source: str, why: str, how: str
) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "nul").write_bytes(b"s3cr3t\0more")
    (tmp_path / "large").write_text("s3cr3t" * 50_000)
    kind = "file" if "/" in source or source == "FOLDER" else "env"
    secret = Secret(kind=kind, source=source.replace("FOLDER", str(tmp_path)))
    made = _made(folder, secrets={"A": secret})

    code, said = _start(made, how, {"PATH": os.environ["PATH"], "HOME": "/nobody"})

    assert 1 == code
    assert f"environment: {why.replace('FOLDER', str(tmp_path))}" == made.marker("job")["reason"]
    assert "s3cr3t" not in said
    assert not (made.home("job") / "out/o.txt").exists()
