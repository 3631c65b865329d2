"""Mistakes of every kind are shown in one round, and none that only follows from another."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from repx.errors import ProblemsError
from repx.lab.build import build
from repx.lab.load import open_lab

LAB: Final = """\
stages:
  a: {parameters: {n: 1}, outputs: {o: $out/o}, run: 'echo "${parameters[n]}" > "${outputs[o]}"'}
  b: {inputs: [o], outputs: {p: $out/p}, run: 'cp "${inputs[o]}" "${outputs[p]}"'}
  c: {outputs: {q: $out/q}, run: 'echo > "${outputs[q]}"'}
pipelines: {one: [a, b], two: [c]}
runs:
  first: {pipelines: [one]}
  second: {pipelines: [two]}
  third: {pipelines: [two], dependencies: [first]}
groups: {all: [first, second, third]}
"""


def no_tool(argv: object, stdin: str) -> None:
    del argv, stdin


def mistakes(folder: Path, *changes: tuple[str, str]) -> list[str]:
    text = LAB
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    (folder / "lab.yaml").write_text(text)
    with pytest.raises(ProblemsError) as caught:
        build(folder / "lab.yaml", folder / "result", no_tool)
    return [str(problem).removeprefix(f"{folder}/lab.yaml:") for problem in caught.value.problems]


BROKEN_A: Final = ("{parameters: {n: 1}, ", "{paramters: {n: 1}, ")
BROKEN_C: Final = ("{q: $out/q}", "{q: q}")
WRONG_USE: Final = ('"${outputs[q]}"', '"${outputs[r]}"')
UNKNOWN_STAGE: Final = ("two: [c]", "two: [c, d]")


def test_the_rest_of_a_file_is_checked_too(tmp_path: Path) -> None:
    found = mistakes(tmp_path, BROKEN_A, WRONG_USE, UNKNOWN_STAGE)

    assert [
        "2:7: unknown key 'paramters', did you mean 'parameters'?",
        "4:34: outputs[r] is used but not declared",
        "5:35: there is no stage 'd', there is b, c",
    ] == found


@pytest.mark.parametrize(
    ("changes", "lines"),
    [
        ([BROKEN_A], ["2:7"]),
        ([BROKEN_C], ["4:17"]),
        ([BROKEN_A, BROKEN_C], ["2:7", "4:17"]),
        ([("first: {", "first: {hashmode: pure, ")], ["7:11"]),
        ([("one: [a, b]", "one: {b: {a: o}}")], ["5:19"]),
        ([("groups: {all: [first, second, third]}", "groups: 3")], ["10:1"]),
        ([("pipelines: {one: [a, b], two: [c]}", "pipelines: 7")], ["5:1"]),
    ],
    ids=str,
)
def test_nothing_is_told_that_only_follows(
    tmp_path: Path, changes: list[tuple[str, str]], lines: list[str]
) -> None:
    found = mistakes(tmp_path, *changes)

    assert lines == [":".join(message.split(":")[:2]) for message in found]


def test_a_mistake_of_yaml_hides_no_others(tmp_path: Path) -> None:
    found = mistakes(
        tmp_path, ("c: {", "c: {version: '1', version: '2', "), BROKEN_A, UNKNOWN_STAGE
    )

    assert ["2:7", "4:21", "5:35"] == [":".join(message.split(":")[:2]) for message in found]


@pytest.mark.parametrize("text", ["3", "[]", "a: b: c", "stages: {}", "", "x: 1"])
def test_what_is_no_definition_is_told_as_that(tmp_path: Path, text: str) -> None:
    (tmp_path / "lab.yaml").write_text(text)
    with pytest.raises(ProblemsError):
        build(tmp_path / "lab.yaml", tmp_path / "result", no_tool)


# --- paths that lead nowhere -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "warned"),
    [
        ("data/x.csv", "{files: data/x.csv}"),
        ("data/", "{dirs: data/}"),
        ("[7, data/x.csv]", "{files: data/x.csv}"),
        ("./data/x.csv", "{files: ./data/x.csv}"),
        ("data/y.csv", None),
        ("{files: data/x.csv}", None),
        ("1.5", None),
        (".", None),
        ("data", None),  # a word like any other
        ("'a/" + "b" * 5000 + "'", None),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_path_relative_to_the_definition_is_warned_of(
    tmp_path: Path, value: str, warned: str | None
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/x.csv").write_text("x")
    text = LAB.replace("first: {", f"first: {{parameters: {{n: {value}}}, ")
    (tmp_path / "lab.yaml").write_text(text)
    built = build(tmp_path / "lab.yaml", tmp_path / "result", no_tool)

    found = [problem.message for problem in built.warnings]
    assert found == [message for message in found if warned and f"write {warned}, " in message]
    assert bool(warned) is bool(found)


@pytest.mark.parametrize("depth", [62, 63])
def test_a_value_is_as_deep_as_a_lab_can_hold_or_refused(tmp_path: Path, depth: int) -> None:
    value = "[" * depth + "1" + "]" * depth
    text = LAB.replace("first: {", f"first: {{parameters: {{n: [{value}]}}, ")
    (tmp_path / "lab.yaml").write_text(text)
    if depth > 62:
        with pytest.raises(ProblemsError, match="a value is nested more than 64 levels deep"):
            build(tmp_path / "lab.yaml", tmp_path / "result", no_tool)
    else:
        build(tmp_path / "lab.yaml", tmp_path / "result", no_tool)
        assert 4 == len(open_lab(tmp_path / "result").lab.jobs)
