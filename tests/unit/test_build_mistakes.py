"""Every mistake in lab.yaml has its place and says what to write instead, all at once."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from tests.mistakes import GOOD, mistakes, warnings

pytestmark = pytest.mark.slow  # each starts a process


CHANGES: Final = {
    "unknown key": (
        "    inputs: [o]",
        "    input: [o]",
        "lab.yaml:9:5: unknown key 'input', did you mean 'inputs'?",
    ),
    "wrong type": (
        "{x: 1}",
        "7",
        "lab.yaml:3:5: parameters: 7 is a whole number, wanted a mapping or a list",
    ),
    "output outside of $out": (
        "o: $out/o.txt",
        "o: o.txt",
        "lab.yaml:5:7: o: 'o.txt' is not understood, write it like $out/result.csv",
    ),
    "output that leaves $out": (
        "o: $out/o.txt",
        "o: $out/../o.txt",
        "lab.yaml:5:7: output 'o': '$out/../o.txt' leaves the job's folder",
    ),
    "two outputs, one file": (
        "p: $out/p.txt",
        "{p: $out/p.txt, q: $out/p.txt}",
        "lab.yaml:11:23: outputs 'p' and 'q' are the same file",
    ),
    "tab": ("  a:\n", "\ta:\n", "lab.yaml:2:1: a tab indents this line"),
    "duplicate key": ("  b:\n", "  a:\n", "lab.yaml:8:3: the key 'a' is here twice"),
    "unknown stage": (
        "[a, b]",
        "[a, bb]",
        "lab.yaml:15:13: there is no stage 'bb', did you mean 'b'?",
    ),
    "input nobody provides": (
        "[a, b]",
        "[b]",
        "lab.yaml:15:10: stage 'b' of pipeline 'main': nothing provides its input 'o'",
    ),
    "output nobody produces": (
        "main: [a, b]",
        "main: {a: [], b: [[a, oo, o]]}",
        "lab.yaml:15:21: 'a' has no output 'oo', did you mean 'o'?",
    ),
    "input the stage does not have": (
        "main: [a, b]",
        "main: {a: [], b: [[a, o, input]]}",
        "lab.yaml:15:21: stage 'b' of pipeline 'main' has no input 'input', there is o",
    ),
    "producer that is not in the pipeline": (
        "main: [a, b]",
        "main: {b: [a]}",
        "lab.yaml:15:14: stage 'b' of pipeline 'main' cannot read 'a', which is not there",
    ),
    "cyclic pipeline": (
        "    parameters: {x: 1}\n",
        "    parameters: {x: 1}\n    inputs: [p]\n",
        "lab.yaml:16:3: stages depend on each other: a -> b -> a",
    ),
    "empty list": ("x: [1, 2]", "x: []", "lab.yaml:19:7: x: is empty"),
    "empty range": ("x: [1, 2]", "x: {range: [2, 1]}", "lab.yaml:19:11: the range 2, 1 is empty"),
    "range that never reaches its end": (
        "x: [1, 2]",
        "x: {range: [2, 1.5]}",
        "lab.yaml:19:11: the range 2, 1.5 is empty",
    ),
    "name that no folder can have": (
        "    inputs: [o]",
        "    inputs: [o]\n    pname: a b",
        "lab.yaml:10:5: pname: 'a b' is not understood, write it like train, train-{model}",
    ),
    "version that would be read as a part of the name": (
        "    inputs: [o]",
        "    inputs: [o]\n    version: v2",
        "lab.yaml:10:5: version: 'v2' is not understood, write it like ",
    ),
    "range without step": (
        "x: [1, 2]",
        "x: {range: [1, 2, 0]}",
        "lab.yaml:19:11: the step of the range 1, 2, 0 is 0: it never reaches its end",
    ),
    "range in the other direction": (
        "x: [1, 2]",
        "x: {range: [9, 2, 2]}",
        "lab.yaml:19:11: the range 9, 2, 2 is empty: write [9, 2, -2] to count down",
    ),
    "range of too many values": (
        "x: [1, 2]",
        "x: {range: [0, 1e308, 1e-308]}",
        "lab.yaml:19:11: the range 0, 1e+308, 1e-308 has about 1e+616 values, more than 10,000,000",
    ),
    "cpus in words": (
        "    inputs: [o]",
        "    inputs: [o]\n    resources: {cpus: two}",
        "lab.yaml:10:17: cpus: 'two' is not understood, write it like 4, {threads}",
    ),
    "more cpus than a Lab may ask for": (
        "    inputs: [o]",
        "    inputs: [o]\n    resources: {cpus: 9999999}",
        "lab.yaml:10:17: cpus: 9999999 is more than 1000000",
    ),
    "stage's name": (
        "pipelines:",
        "  a b: {run: x}\npipelines:",
        "lab.yaml:14:3: the name 'a b' is not allowed: use letters, digits, _ and -, and begin",
    ),
    "unknown key beside a place for shared parts": (
        "pipelines:",
        "x-shared: 1\nshared: 2\npipelines:",
        "lab.yaml:15:1: unknown key 'shared'",
    ),
    "default that a connected stage does not have": (
        "    inputs: [o]",
        "    inputs: [o]\n    parameters: {y: {}}",
        "lab.yaml:10:18: stage 'b' inherits the default of parameter 'y', but no stage",
    ),
    "scan without match": ("x: [1, 2]", 'x: {files: "*.csv"}', "lab.yaml:19:11: no file matches"),
    "parameter no stage declares": (
        "      x: [1, 2]",
        "      xs: [1, 2]",
        "lab.yaml:19:7: no stage of run 'r' declares the parameter 'xs', did you mean 'x'?",
    ),
    "parameter of no such stage": (
        "      x: [1, 2]",
        "      b.x: [1, 2]",
        "lab.yaml:19:7: no stage of run 'r' declares the parameter 'b.x', did you mean 'a.x'?",
    ),
    "parameter without any value": (
        "{x: 1}\n",
        "{x: 1, y: null}\n",
        "lab.yaml:17:3: run 'r' gives no value for the parameter 'y' of stage 'a', which has no",
    ),
    "null without default": (
        "x: [1, 2]",
        "x: [1, null]\nx",
        "lab.yaml:20:1: ",
    ),
    "value that means a file of the Lab": (
        "x: [1, 2]",
        "x: [1, $lab/x]",
        "lab.yaml:19:14: a value cannot begin with '$lab/', which stands for the Lab",
    ),
    "NUL": ("x: [1, 2]", 'x: ["\\0"]', "lab.yaml:19:11: a value cannot hold the NUL character"),
    "not a number": ("x: [1, 2]", "x: [.nan]", "lab.yaml:19:11: nan is not a number that JSON"),
    "unequal zip": (
        "    parameters:\n      x: [1, 2]",
        "    zip: [{x: [1, 2], a.x: [1]}]",
        "lab.yaml:18:11: zipped parameters need equally many values: x has 2, a.x has 1",
    ),
    "zipped and not": (
        "      x: [1, 2]",
        "      x: [1, 2]\n    zip: [{x: [1, 2]}]",
        "lab.yaml:20:12: parameter 'x' is also one of 'parameters'",
    ),
    "unknown parameter in a template": (
        "$out/o.txt",
        "$out/{y}.txt",
        "lab.yaml:5:7: stage 'a' has no parameter 'y', there is x",
    ),
    "unknown parameter in resources": (
        "    inputs: [o]",
        "    inputs: [o]\n    resources: {when: [{if: {y: 1}, mem: 1G}]}",
        "lab.yaml:10:30: stage 'b' has no parameter 'y', there is none",
    ),
    "memory nobody can read": (
        "    inputs: [o]",
        "    inputs: [o]\n    resources: {mem: 4.5GB}",
        "lab.yaml:10:17: mem: '4.5GB' is not understood, write it like 512M, 4G, {size}G",
    ),
    "input used but not declared": (
        '"${inputs[o]}"',
        '"${inputs["oo"]}"',
        "lab.yaml:13: inputs[oo] is used but not declared, did you mean 'o'?",
    ),
    "parameter used but not declared": (
        '"${parameters[x]}"',
        "\"\\\n      ${parameters['xx']:-}\"",
        "lab.yaml:8: parameters[xx] is used but not declared, did you mean 'x'?",
    ),
    "output used but not declared": (
        '"${outputs[p]}"',
        '"${outputs[q]}"',
        "lab.yaml:13: outputs[q] is used but not declared",
    ),
    "bash that bash cannot read": (
        'cat "${inputs[o]}"',
        'if cat "${inputs[o]}"',
        "lab.yaml:13: bash: syntax error: unexpected end of file",
    ),
    "unclosed here-document": (
        'cat "${inputs[o]}"',
        'cat <<END "${inputs[o]}"',
        "lab.yaml:13: bash: warning: here-document at line 1 delimited by end-of-file",
    ),
    "run called top": ("  r:\n", "  top:\n", "lab.yaml:17:3: a run cannot be called 'top'"),
    "run called missing": ("  r:\n", "  missing:\n", "a run cannot be called 'missing'"),
    "run called pending": ("  r:\n", "  pending:\n", "a run cannot be called 'pending'"),
    "run that is not there": (
        "  r:\n",
        "  r:\n    dependencies: {q: soft}\n",
        "lab.yaml:18:20: there is no run 'q', there is r",
    ),
    "runs in a circle": (
        "  r:\n",
        "  r:\n    dependencies: [r]\n",
        "lab.yaml:16:1: runs depend on each other: r -> r",
    ),
    "dependency of no known kind": (
        "  r:\n",
        "  r:\n    dependencies: {q: weak}\n",
        "lab.yaml:18:20: q: 'weak' is not one of hard, soft",
    ),
    "metadata of a run that is no dependency": (
        "    inputs: [o]",
        "    inputs: [o, metadata__q]",
        "lab.yaml:9:5: stage 'b' reads the metadata of run 'q', which run 'r' does not depend on",
    ),
    "unknown pipeline": (
        "  r:\n",
        "  r:\n    pipelines: [mian]\n",
        "lab.yaml:18:17: there is no pipeline 'mian', did you mean 'main'?",
    ),
    "group of nothing": (
        "runs:\n",
        "groups: {all: [rr]}\nruns:\n",
        "lab.yaml:16:16: there is no run 'rr', did you mean 'r'?",
    ),
    "group called like a run": (
        "runs:\n",
        "groups: {r: [r]}\nruns:\n",
        "lab.yaml:16:10: a run and a group are both called 'r'",
    ),
    "run and script": (
        "    inputs: [o]",
        "    inputs: [o]\n    script: x.py",
        "lab.yaml:8:3: stages.b: both 'run' and 'script' are given, one of them is needed",
    ),
    "script that is not there": (
        "    run: |\n      cat",
        "    script: cat.py\n    description: |\n      cat",
        "lab.yaml:12:5: 'cat.py' does not exist in ",
    ),
    "file outside": (
        "    inputs: [o]",
        "    inputs: [o]\n    files: [../x]",
        "lab.yaml:10:5: '../x' lies outside ",
    ),
}  # fmt: skip
# One that two lines spell out.
del CHANGES["null without default"]


@pytest.mark.parametrize("name", CHANGES)
def test_a_mistake_is_named_with_its_place(tmp_path: Path, name: str) -> None:
    old, new, message = CHANGES[name]
    assert GOOD.count(old) == 1

    found = mistakes(tmp_path, GOOD.replace(old, new))

    assert any(message in problem for problem in found), found


def test_null_needs_a_default(tmp_path: Path) -> None:
    text = GOOD.replace("{x: 1}", "[x]").replace("[1, 2]", "[1, null]")

    assert mistakes(tmp_path, text) == [
        "lab.yaml:19:14: null means the default, but stage 'a' has none for 'x'"
    ]


def test_all_mistakes_are_shown_together(tmp_path: Path) -> None:
    text = GOOD.replace("[outputs", "").replace("${outputs[p]}", "${outputs[q]}")
    text = text.replace("{x: 1}", "{x: 1, y: null}").replace("x: [1, 2]", "z: {range: [2, 1]}")
    text = text.replace('echo "', 'if echo "')

    lines = [problem.split(": ")[0] for problem in mistakes(tmp_path, text)]

    assert lines == [
        "lab.yaml:7",
        "lab.yaml:13",
        "lab.yaml:17:3",
        "lab.yaml:19:7",
        "lab.yaml:19:11",
    ]


def test_a_program_must_say_its_language(tmp_path: Path) -> None:
    (tmp_path / "b.py").write_text("print()\n", encoding="utf-8")
    text = GOOD.replace("run: |\n      cat", "script: b.py\n    description: |\n      cat")

    (problem,) = mistakes(tmp_path, text)

    assert problem == (
        "lab.yaml:12:5: 'b.py' does not say its language: begin it with a line like "
        "`#!/usr/bin/env python3`"
    )


def test_a_program_with_windows_line_ends_is_refused(tmp_path: Path) -> None:
    """The kernel would look for a program whose name ends in a carriage return."""
    (tmp_path / "b.py").write_bytes(b"#!/usr/bin/env python3\r\nprint()\r\n")
    text = GOOD.replace("run: |\n      cat", "script: b.py\n    description: |\n      cat")

    (problem,) = mistakes(tmp_path, text)

    assert problem == (
        "lab.yaml:12:5: 'b.py' has Windows line ends, with which its first line names no program: "
        "run `sed -i 's/\\r$//' b.py`"
    )


def test_a_program_that_is_a_link_to_nothing_is_refused(tmp_path: Path) -> None:
    (tmp_path / "b.py").symlink_to("../gone.py")
    text = GOOD.replace("run: |\n      cat", "script: b.py\n    description: |\n      cat")

    (problem,) = mistakes(tmp_path, text)

    assert problem == (
        "lab.yaml:12:5: 'b.py' is a link to ../gone.py, where nothing is; "
        "`cp -rL` copies links as files"
    )


def test_an_ambiguous_input_asks_for_a_mapping(tmp_path: Path) -> None:
    text = GOOD.replace("pipelines:", "  c: {outputs: {o: $out/o}, run: ':'}\npipelines:")

    (problem,) = mistakes(tmp_path, text.replace("[a, b]", "[a, b, c]"))

    assert problem == (
        "lab.yaml:16:13: stage 'b' of pipeline 'main': 'a' and 'c' both have an output 'o', say "
        "which in a mapping: [a, o]"
    )


def test_what_is_declared_but_unused_is_a_warning(tmp_path: Path) -> None:
    text = GOOD.replace("{x: 1}", "{x: 1, y: 2}").replace('cat "${inputs[o]}"', "echo")

    assert warnings(tmp_path, text.replace("${outputs[p]}", "elsewhere")) == [
        "lab.yaml:3:24: parameter 'y' is declared but not used",
        "lab.yaml:9:14: input 'o' is declared but not used",
        "lab.yaml:11:7: output 'p' is declared but not used",
    ]


@pytest.mark.parametrize(
    "line",
    [
        'cp "${inputs[o]}" p.txt',
        'cp "${inputs["o"]}" "${outputs[\'p\']}"',
        'for name in "${!inputs[@]}"; do cp "${inputs[$name]}" "$out/p.txt"; done',
        'x=o; cp "${inputs[$x]}" "${outputs[p]}"',
        '[[ -v inputs[o] ]] && cp "${inputs[o]:-none}" "${outputs[p]#x}" # not ${inputs[q]}',
        'cp "$inputs_json" "$REPX_OUTPUTS"',
        'python3 -c "..." # REPX\n      : "$REPX_INPUTS_JSON" p.txt',
    ],
)
def test_the_usual_spellings_are_understood(tmp_path: Path, line: str) -> None:
    text = GOOD.replace('cat "${inputs[o]}" > "${outputs[p]}"', line)

    assert warnings(tmp_path, text) == []
