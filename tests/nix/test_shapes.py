"""What the library says where a value is of the wrong kind: never a place in its own code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from tests.nix.test_mistakes import PRELUDE

if TYPE_CHECKING:
    from pathlib import Path

    from tests.nix.machine import Nix

pytestmark = [pytest.mark.real, pytest.mark.needs("nix")]

STAGE: Final = 'piped { a = repx.callStage ({ outputs.o = "$out/o"; } // { %s }) [ ]; }'
MISTAKES: Final = [
    # --- Labs
    (
        "repx.runs2Lab 3",
        "runs2Lab: it needs a list of runs, or an attribute set with runs, not a number",
    ),
    ("repx.runs2Lab { }", "runs2Lab: 'runs' is missing"),
    ("labOf 3", "runs2Lab: runs must be an attribute set, not a number"),
    (
        "repx.runs2Lab { runs = [ (run { }) ]; grups = { }; }",
        "runs2Lab: unknown attribute 'grups', did you mean 'groups'?",
    ),
    ("many { }", "mkLab: 'runs' is missing"),
    ("(repx.mkLab { runs = { }; }).lab", "mkLab: 'pkgs' is missing"),
    ("many { runs = [ ]; }", "mkLab: runs must be an attribute set, not a list"),
    (
        "many { runs.a = repx.callRun (run { }) [ ]; group = { }; }",
        "mkLab: unknown attribute 'group', did you mean 'groups'?",
    ),
    (
        "many { runs.a = repx.callRun (run { }) [ ]; groups = 3; }",
        "mkLab: groups must be an attribute set, not a number",
    ),
    (
        "many { runs.a = repx.callRun (run { }) 3; }",
        "run 'r': what callRun is given behind the run must be a list, not a number",
    ),
    (
        "many { runs.a = repx.callRun (run { }) [ ]; gitHash = 3; }",
        "mkLab: gitHash must be a text, not a number",
    ),
    ("lab 3", "a run must be an attribute set with name and pipelines, not a number"),
    # --- runs
    ("lab (run { name = 3; })", "name must be a text, not a number"),
    (
        "lab (run { pipelines = [ ./nowhere.nix ]; })",
        "run 'r', pipelines: the file: there is no ",
    ),
    (
        'lab (run { pipelines = [ "pipe.nix" ]; })',
        "run 'r', pipelines: the file must be a path, such as ./pipe.nix, not the text 'pipe.nix'",
    ),
    (
        "lab (run { parameters = [ ]; })",
        "run 'r': parameters must be an attribute set, not a list",
    ),
    (
        "lab (run { parameters = { n = [ (x: x) ]; }; })",
        "run 'r', parameter 'n': a value cannot be a function",
    ),
    (
        "lab (run { dependencies = 3; })",
        "run 'r': dependencies must be an attribute set, not a number",
    ),
    ("lab (run { dependencies = [ 3 ]; })", "run 'r': dependencies must be texts, not a number"),
    # --- stages
    ("lab (one { pname = 3; })", "stage 'a': pname must be a text, not a number"),
    ("lab (one { version = [ ]; })", "stage 'a': version must be a text or a number, not a list"),
    (
        "lab (one { inputs = 3; })",
        "stage 'a': inputs must be a list of names or an attribute set, not a number",
    ),
    ("lab (one { inputs = [ 3 ]; })", "stage 'a': inputs must be texts, not a number"),
    (
        'lab (one { outputs = [ "o" ]; })',
        "stage 'a': outputs must be an attribute set, not a list",
    ),
    (
        'lab (one { outputs = { "a b" = "$out/x"; }; })',
        "stage 'a': outputs must be names of letters, digits, _ and -, not \"a b\"",
    ),
    ("lab (one { parameters = [ 3 ]; })", "stage 'a': parameters must be texts, not a number"),
    ("lab (one { resources = 3; })", "stage 'a': resources must be an attribute set, not a number"),
    (
        "lab (one { resources.mem = 3; })",
        "stage 'a': resources.mem must be a text, such as \"4G\", not a number",
    ),
    (
        "lab (one { resources.cpus = 0; })",
        "stage 'a': resources.cpus must be a whole number from 1 up, not 0",
    ),
    (
        'lab (one { resources.sbatch_opts = "--x"; })',
        "stage 'a': resources.sbatch_opts must be a list of texts, such as",
    ),
    (
        'lab (one { resources.when = [ { mem = "1G"; } ]; })',
        "stage 'a', resources.when: each needs 'if', the values that must match",
    ),
    (
        "lab (one { runDependencies = pkgs.jq; })",
        "stage 'a': runDependencies must be a list, not an attribute set",
    ),
    (
        STAGE % "script = ./nowhere.py;",
        "stage 'a': script and files: there is no ",
    ),
    (
        STAGE % 'script = "fit.py";',
        "stage 'a': script and files must be a path, such as ./fit.py, not the text 'fit.py'",
    ),
    (
        "piped { a = repx.callStage ./nowhere.nix [ ]; }",
        "run 'r', pipeline written inline, stage 'a': the file: there is no ",
    ),
    (
        "piped { a = repx.callStage (stage { }) 3; }",
        "stage 'a': what callStage is given behind the stage must be a list, not a number",
    ),
    (
        "scattered { gather = 3; }",
        "stage 'a': gather must be an attribute set, not a number",
    ),
    # --- values
    (
        'lab (run { parameters.n = u.files "data"; })',
        "utils.scan: the folder must be a path, such as ./data, not the text 'data'",
    ),
    (
        "lab (run { parameters.n = u.dirs ./nowhere; })",
        "utils.scan: the folder: there is no ",
    ),
    (
        "lab (run { parameters.n = u.scan { src = ./.; typ = 3; }; })",
        "utils.scan: unknown attribute 'typ', did you mean 'type'?",
    ),
    (
        "lab (run { parameters.n = u.scan { }; })",
        "utils.scan: it needs a folder: { src = ./data; }",
    ),
]


@pytest.mark.parametrize(("body", "message"), MISTAKES, ids=[each[0][:60] for each in MISTAKES])
def test_a_wrong_kind_of_value_is_named(nix: Nix, tmp_path: Path, body: str, message: str) -> None:
    told = nix.mistake(PRELUDE % body, tmp_path)

    assert told.startswith("error: repx: ")
    assert message in told


def test_a_version_may_be_a_number(nix: Nix) -> None:
    body = PRELUDE.replace(
        "builtins.seq (builtins.toJSON (%s).blueprint) true", "(%s).blueprint.runs"
    )

    (run,) = nix.value(body % "lab (one { version = 1.5; })")

    assert run["pipelines"][0]["stages"][0]["version"] == "1.5"
