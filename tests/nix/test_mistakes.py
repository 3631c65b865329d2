"""What the library says of mistakes in Nix definitions: where, what, and what to write instead."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.nix.machine import Nix

pytestmark = [pytest.mark.real, pytest.mark.needs("nix")]

PRELUDE: Final = """\
let
  stage = attrs: ({ pkgs }: { outputs = { o = "$out/o"; }; run = { ... }: "true"; } // attrs);
  call = attrs: deps: repx.callStage (stage attrs) deps;
  step = attrs: { outputs = { r = "$out/r"; }; run = { ... }: "true"; } // attrs;
  sg = attrs: ({ pkgs }: {
    scatter = { outputs = { worker__arg = { }; work__items = "$out/i.json"; }; run = { ... }: ""; };
    steps = { one = step { inputs = [ "worker__item" ]; }; };
    gather = { inputs = [ "worker__outs" ]; outputs = { o = "$out/o"; }; run = { ... }: ""; };
  } // attrs);
  pipe = stages: ({ repx, ... }: repx.mkPipe stages);
  run = attrs: { name = "r"; pipelines = [ (pipe { a = call { } [ ]; }) ]; } // attrs;
  one = attrs: run { pipelines = [ (pipe { a = call attrs [ ]; }) ]; };
  two = a: b: run { pipelines = [ (pipe rec { a_ = call a [ ]; b_ = call b [ a_ ]; }) ]; };
  labOf = runs: repx.runs2Lab { inherit runs; hostTools = false; };
  lab = r: labOf [ r ];
  piped = stages: lab (run { pipelines = [ (pipe stages) ]; });
  scattered = attrs: piped { a = repx.callStage (sg attrs) [ ]; };
  many = attrs: (repx.mkLab ({ inherit pkgs; } // attrs)).lab;
  u = repx.utils;
in
builtins.seq (builtins.toJSON (%s).blueprint) true
"""

MISTAKES: Final = [
    # --- stages
    (
        "lab (one { ouputs = { }; })",
        "stage 'a': unknown attribute 'ouputs', did you mean 'outputs'?",
    ),
    (
        'lab (one { resources = { memory = "1G"; }; })',
        "stage 'a', resources: unknown attribute 'memory', did you mean 'mem'?",
    ),
    (
        'lab (one { outputs = { o = "o.txt"; }; })',
        ("stage 'a': output 'o' must be a text that begins with '$out/', such as \"$out/o.csv\""),
    ),
    (
        "lab (one { run = null; script = null; })",
        "stage 'a': both 'run' and 'script' are given, one of them is needed",
    ),
    (
        "lab (one { params = { }; parameters = { }; })",
        "stage 'a': 'params' is another name for 'parameters': write one of them",
    ),
    (
        'lab (one { runDependencies = [ "jq" ]; })',
        "stage 'a': runDependencies must be packages, such as pkgs.python3, not a string",
    ),
    (
        "lab (one { run = { ... }: 3; })",
        "stage 'a': run must give the lines of a bash script, not a number",
    ),
    (
        'lab (one { outputs = { a = "$out/x"; b = "$out/x"; }; })',
        "stage 'a': outputs 'a' and 'b' are the same file",
    ),
    # --- pipelines
    (
        'lab (two { } { inputs = [ "p" ]; })',
        (
            "stage 'b_': no output of 'a_' (o) is one of its inputs (p), write [ a_ \"OUTPUT\" "
            '"INPUT" ]'
        ),
    ),
    (
        'lab (two { } { inputs = [ "o" "data" ]; })',
        "stage 'b_': nothing provides its input 'data', there is o",
    ),
    (
        'lab (one { inputs = [ "data" ]; })',
        "stage 'a': nothing provides its input 'data', there is none",
    ),
    (
        (
            'piped (rec { a = call { } [ ]; c = call { } [ ]; b = call { inputs = [ "o" ]; } '
            "[ a c ]; })"
        ),
        "stage 'b': input 'o' is fed twice, by 'a' and by 'c'",
    ),
    (
        ('piped (rec { a = call { } [ ]; b = call { inputs = [ "x" ]; } [ [ a "oo" "x" ] ]; })'),
        "stage 'b': 'a' has no output 'oo', did you mean 'o'?",
    ),
    (
        (
            'piped (rec { a = call { } [ ]; b = call { inputs = [ "value" ]; } [ [ a "o" '
            '"valeu" ] ]; })'
        ),
        "stage 'b': it has no input 'valeu', did you mean 'value'?",
    ),
    (
        (
            'piped (rec { a = call { inputs = [ "o" ]; } [ b ]; b = call { inputs = [ "o" ]; '
            "} [ a ]; })"
        ),
        "run 'r', pipeline written inline: its stages depend on each other: a -> b -> a",
    ),
    (
        'piped { b = call { inputs = [ "o" ]; } [ (call { } [ ]) ]; }',
        ("stage 'b': it depends on a stage (inline) that is not in its pipeline: add it to mkPipe"),
    ),
    (
        "piped { a = 3; }",
        "run 'r', pipeline written inline: 'a' is not a stage: make it with callStage",
    ),
    (
        'piped { "a b" = call { } [ ]; }',
        (
            "run 'r', pipeline written inline: a stage cannot be called 'a b': use letters, "
            "digits and . _ + -"
        ),
    ),
    # --- runs and parameters
    (
        "lab (run { parameters = { n = [ ]; }; })",
        "run 'r': the sweep over 'n' is empty",
    ),
    (
        "lab (run { parameters = { n = { a = 1; }; }; })",
        (
            "run 'r': parameter 'n' must be a list of values or made with repx-lib.utils, "
            "not an attribute set"
        ),
    ),
    (
        "lab (run { pipelins = [ ]; })",
        "run 'r': unknown attribute 'pipelins', did you mean 'pipelines'?",
    ),
    (
        'lab (run { hashMode = "impure"; })',
        "run 'r': hashMode must be one of pure, params-only, not \"impure\"",
    ),
    (
        'lab (one { parameters = [ "n" ]; })',
        "run 'r': stage 'a' needs the parameter 'n', which has no value and no default",
    ),
    (
        "lab (run { parameters = { z = u.zip { a = [ 1 2 ]; b = [ 1 ]; }; }; })",
        "utils.zip: zipped parameters need equally many values: a has 2, b has 1",
    ),
    (
        "lab (run { parameters = { a = [ 1 ]; z = u.zip { a = [ 1 ]; }; }; })",
        "run 'r': parameter 'a' is in the group 'z' and also one of the parameters",
    ),
    (
        ("lab (run { parameters = { y = u.zip { a = [ 1 ]; }; z = u.zip { a = [ 1 ]; }; }; })"),
        "run 'r': parameter 'a' is in two groups",
    ),
    (
        "lab (run { parameters = { z = u.zip { z = [ 1 ]; }; }; })",
        ("run 'r': the group 'z' has a member of its own name: call the group something else"),
    ),
    (
        "lab (run { parameters = { n = u.range 3 1; }; })",
        "utils.range: the range from 3 to 1 is empty",
    ),
    (
        ('lab (run { parameters = { n = u.scan { src = ./data; match = ".*[.]txt"; }; }; })'),
        "matches '.*[.]txt'",
    ),
    (
        ('lab (two { parameters = { n = 1; }; } { inputs = [ "o" ]; parameters = { n = 2; }; })'),
        "stage 'a_': parameter 'n' has the default 1 here",
    ),
    (
        "lab (one { parameters = { n = { }; }; })",
        (
            "stage 'a': it inherits the default of parameter 'n', but no stage that it is "
            "connected with has one: write a default"
        ),
    ),
    # --- Labs
    (
        "labOf [ ]",
        "runs2Lab: there are no runs",
    ),
    (
        "labOf [ (run { }) (run { }) ]",
        "the Lab: two runs are called 'r'",
    ),
    (
        "many { runs = { a = run { }; }; }",
        "run 'a': it must be made with callRun, not be an attribute set",
    ),
    (
        (
            'many { runs = rec { a = repx.callRun (run { }) [ [ b "maybe" ] ]; b = '
            'repx.callRun (run { name = "b"; }) [ ]; }; }'
        ),
        'run \'r\': a dependency is "hard" or "soft", not "maybe", there is hard, soft',
    ),
    (
        ("many { runs = { a = repx.callRun (run { }) [ (repx.callRun (run { }) [ ]) ]; }; }"),
        "run 'r': it depends on a run (inline) that is not among the Lab's runs: add it",
    ),
    (
        (
            "many { runs = rec { a = repx.callRun (run { }) [ b ]; b = repx.callRun (run { "
            'name = "b"; }) [ a ]; }; }'
        ),
        "the Lab: runs depend on each other: b -> r -> b",
    ),
    (
        "many { runs = { a = repx.callRun (run { }) [ ]; }; groups = { r = [ ]; }; }",
        "group 'r': a run has the same name",
    ),
    (
        'many { runs = { a = repx.callRun (run { }) [ ]; }; groups = { g = [ "q" ]; }; }',
        "group 'g': there is no run 'q', did you mean 'r'?",
    ),
    (
        'many { runs = { a = repx.callRun (run { }) [ ]; }; containerMode = "docker"; }',
        'mkLab: containerMode must be one of none, unified, per-run, not "docker"',
    ),
    (
        'labOf [ (run { dependencies = [ "s" ]; }) ]',
        "run 'r': there is no run 's', did you mean 'r'?",
    ),
    (
        'lab (one { inputs = [ "metadata__q" ]; })',
        (
            "stage 'a': it reads the metadata of run 'q', on which run 'r' does not depend, "
            "there is none"
        ),
    ),
    # --- scatter-gather
    (
        "scattered { steps = { }; }",
        "stage 'a': steps must be an attribute set with at least one step",
    ),
    (
        "scattered { steps = { one = step { }; }; }",
        "stage 'a': no step without 'deps' has the input 'worker__item'",
    ),
    (
        (
            'scattered { steps = { one = step { inputs = [ "worker__item" ]; }; two = step { '
            'inputs = [ "worker__item" ]; }; }; }'
        ),
        "stage 'a': one step must come last, but nothing needs any of: one, two",
    ),
    (
        'scattered { gather = { inputs = [ ]; outputs = { }; run = { ... }: ""; }; }',
        "stage 'a', gather: inputs must have 'worker__outs', the outputs of all branches",
    ),
    (
        (
            'scattered { steps = { one = step { inputs = [ "worker__item" ]; deps = [ "tow" '
            "]; }; two = step { }; }; }"
        ),
        "stage 'a', step-one: there is no step 'tow', did you mean 'two'?",
    ),
    (
        (
            'scattered { steps = let x = step { inputs = [ "worker__item" ]; deps = [ y ]; '
            '}; y = step { inputs = [ "r" ]; deps = [ x ]; }; in { inherit x y; }; }'
        ),
        "depend on each other",
    ),
    (
        (
            'scattered { steps = { one = step { inputs = [ "worker__item" ]; outputs = { p = '
            '"$out/p"; q = "$out/q"; }; }; }; }'
        ),
        (
            "stage 'a': step 'one' comes last, so it must have exactly one output for "
            "'worker__outs', not 2"
        ),
    ),
]


@pytest.mark.parametrize(("body", "message"), MISTAKES, ids=[each[1][:60] for each in MISTAKES])
def test_a_mistake_is_named(nix: Nix, tmp_path: Path, body: str, message: str) -> None:
    (tmp_path / "data").mkdir()

    assert message in nix.mistake(PRELUDE % body, tmp_path)


def test_a_run_without_mistakes_is_read(nix: Nix) -> None:
    assert nix.value(PRELUDE % "lab (one { })") is True


def test_a_parameter_that_no_stage_declares_is_a_warning(nix: Nix) -> None:
    body = PRELUDE % "lab ((one { parameters = { speed = 1; }; }) // { parameters.sped = [ 1 ]; })"

    done = nix.call("nix-instantiate", "--eval", "-E", nix.lab(body))

    assert done.returncode == 0
    told = "run 'r': no stage declares the parameter 'sped', did you mean 'speed'?"
    assert f"repx: warning: {told}" in done.stderr


def test_a_stage_may_inherit_a_default(nix: Nix) -> None:
    body = PRELUDE.replace(
        "builtins.seq (builtins.toJSON (%s).blueprint) true", "(%s).blueprint.runs"
    )
    two = '(two { parameters = { n = 7; }; } { inputs = [ "o" ]; parameters = { n = { }; }; })'

    stages = nix.value(body % f"lab {two}")[0]["pipelines"][0]["stages"]

    assert [7, 7] == [stage["parameters"]["n"] for stage in stages]


@pytest.mark.needs("shellcheck")
@pytest.mark.parametrize(
    ("run", "message"),
    [
        (
            (
                'run { hashMode = "params-only"; pipelines = [ (pipe { '
                'a = call { pname = "same"; } [ ]; '
                'b = call { pname = "same"; run = "false"; } [ ]; }) ]; }'
            ),
            "two different jobs have the id",
        ),
        (
            'one { outputs = { o = "$out/../o"; }; }',
            "stage 'a', output 'o': '$out/../o' leaves the job's folder",
        ),
        ('one { pname = "a b"; }', "stage 'a': 'a b' cannot be a pname"),
        ('run { name = "top"; }', "a run cannot be called 'top'"),
    ],
    ids=["collision", "outside", "pname", "reserved"],
)
def test_what_only_the_expander_sees_fails_the_build(nix: Nix, run: str, message: str) -> None:
    body = PRELUDE.replace("builtins.seq (builtins.toJSON (%s).blueprint) true", "%s")

    done = nix.built(body % f"lab ({run})")

    assert (
        f"error: {message}" in nix.call("nix-store", "--read-log", nix.failed(done.stderr)).stdout
    )


def test_a_changed_copy_of_a_step_is_still_that_step(nix: Nix) -> None:
    body = PRELUDE.replace("builtins.seq (builtins.toJSON (%s).blueprint) true", "%s")
    steps = (
        'let one = step { inputs = [ "worker__item" ]; }; two = step { inputs = [ "r" ]; '
        'outputs = { q = "$out/q"; }; deps = [ (one // { resources = { mem = "1G"; }; }) ]; }; '
        "in { inherit one two; }"
    )

    (run,) = nix.value(body % f"(scattered {{ steps = {steps}; }}).blueprint.runs")

    (stage,) = run["pipelines"][0]["stages"]
    assert ["one"] == stage["executables"]["step-two"]["deps"]
