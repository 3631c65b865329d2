"""What a picture of a Lab shows, and that no name can break it."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repx.cli import viz
from repx.lab.load import open_lab
from repx.model import DependencyType, Executable, Input, Job, Lab, Run, StageType
from repx.status import State
from repx.viz import dot, drawing, layers, mermaid
from repx.viz.drawing import Drawing, Edge, Frame, FrameKind, Link
from tests.made import made_lab

Repx: TypeAlias = Callable[..., Any]  # see conftest.py

HOSTILE = st.text(max_size=60) | st.sampled_from(
    ["end", 'a"b', "a\\", "\\N", "<b>", "a\nb", "`x`", "#35;", "&amp;", "]", "-->", "x\0y"]
)


def a_lab(
    *runs: Run, jobs: dict[str, Job] | None = None, groups: dict[str, tuple[str, ...]] | None = None
) -> Lab:
    """Return a Lab of these runs."""
    return made_lab(
        id="0" * 32,
        runs={run.name: run for run in runs},
        groups=groups or {},
        jobs=jobs or {},
    )


def a_job(job_id: str, params: dict[str, object], *needs: str) -> Job:
    """Return a simple job that reads an output of each of ``needs``."""
    inputs = tuple(Input(target=need, job_id=need, source_output="x") for need in needs)
    return Job(
        id=job_id,
        name=job_id,
        stage_type=StageType.SIMPLE,
        params=params,
        executables={"main": Executable(path="p", inputs=inputs, outputs={"x": "$out/x"})},
    )


def boxes(frames: tuple[Frame, ...]) -> dict[str, str]:
    """Return the first line of every box by its key."""
    found: dict[str, str] = {}
    for frame in frames:
        found |= {node.key: node.lines[0] for node in frame.nodes} | boxes(frame.frames)
    return found


def arrows(picture: Drawing) -> set[tuple[str, str, Link]]:
    """Return every arrow as the first lines of its two boxes and what it means."""
    names = boxes(picture.frames)
    return {(names[edge.source], names[edge.target], edge.link) for edge in picture.edges}


def test_a_sweep_is_one_box_per_stage_with_the_number_of_jobs(labs: Path) -> None:
    picture = drawing.draw(open_lab(labs / "sweep").lab)

    assert {("prep (x2)", "calc (x6)", Link.DATA)} == arrows(picture)


def test_runs_are_joined_from_frame_to_the_stage_that_reads(labs: Path) -> None:
    picture = drawing.draw(open_lab(labs / "simple-two-runs").lab)

    (soft,) = [edge for edge in picture.edges if edge.link is Link.SOFT]
    assert "stage-analysis (x1)" == boxes(picture.frames)[soft.target]
    assert soft.tail is not None
    assert f'ltail="cluster_{soft.tail}"' in dot.write(picture)
    assert f"  {soft.tail} -.-> {soft.target}" in mermaid.write(picture)


def test_scatter_gather_is_a_frame_with_its_steps(labs: Path) -> None:
    picture = drawing.draw(open_lab(labs / "scatter-gather").lab)

    assert {
        ("a-make-list (x1)", "scatter", Link.DATA),
        ("scatter", "step extract", Link.DATA),
        ("step extract", "step square", Link.DATA),
        ("step square", "gather", Link.DATA),
        ("gather", "c-report (x1)", Link.DATA),
    } == arrows(picture)


def test_parameters_with_several_values_are_named(labs: Path) -> None:
    picture = drawing.draw(open_lab(labs / "sweep").lab, show_params=True)

    text = dot.write(picture)
    assert 'label="prep (x2)\\nseed: 1, 2"' in text
    assert 'label="calc (x6)\\nfactor: 2, 3, 5\\nlabel: five, three, two"' in text


def test_many_values_are_counted() -> None:
    jobs = {f"{number}-fit-1.0": a_job(f"{number}-fit-1.0", {"n": number}) for number in range(12)}
    lab = a_lab(Run(name="r", metadata="", jobs=tuple(jobs)), jobs=jobs)

    assert "n: 0, 1, 2, 3, 4, … (12)" in dot.write(drawing.draw(lab, show_params=True))


def test_states_colour_the_boxes_and_are_counted(labs: Path) -> None:
    lab = open_lab(labs / "sweep").lab
    states = dict.fromkeys(lab.jobs, State.SUCCEEDED)
    states[next(job for job in lab.jobs if "calc" in job)] = State.FAILED
    picture = drawing.draw(lab, states=states)

    assert "5 succeeded, 1 failed" in dot.write(picture)
    assert ":::failed" in mermaid.write(picture)
    assert "classDef failed" in mermaid.write(picture)


def test_a_hard_dependency_without_an_input_reaches_the_first_stages() -> None:
    jobs = {name: a_job(name, {}) for name in ("1-a-1.0", "2-b-1.0")}
    lab = a_lab(
        Run(name="one", metadata="", jobs=("1-a-1.0",)),
        Run(
            name="two",
            metadata="",
            jobs=("2-b-1.0",),
            dependencies={"one": DependencyType.HARD},
        ),
        jobs=jobs,
    )

    assert {("a (x1)", "b (x1)", Link.HARD)} == arrows(drawing.draw(lab))


def test_a_job_in_two_runs_is_in_both_frames() -> None:
    jobs = {"1-a-1.0": a_job("1-a-1.0", {}), "2-b-1.0": a_job("2-b-1.0", {}, "1-a-1.0")}
    lab = a_lab(
        Run(name="one", metadata="", jobs=("1-a-1.0",)),
        Run(name="two", metadata="", jobs=("1-a-1.0", "2-b-1.0")),
        jobs=jobs,
    )
    picture = drawing.draw(lab)

    assert ["a (x1)", "a (x1)", "b (x1)"] == sorted(boxes(picture.frames).values())
    assert [Edge(source="r1_s0", target="r1_s1")] == list(picture.edges)


GROUPS = st.dictionaries(
    st.sampled_from("ABCDE"), st.lists(st.sampled_from("uvwxyz"), unique=True), max_size=5
)


@given(GROUPS)
def test_every_run_is_drawn_once_and_says_all_its_groups(groups: dict[str, list[str]]) -> None:
    """Groups may overlap as they like: those that nest are frames, the others are tags."""
    lab = a_lab(
        *(Run(name=name, metadata="", jobs=()) for name in "uvwxyz"),
        groups={name: tuple(members) for name, members in groups.items()},
    )
    said: dict[str, set[str]] = {}

    def walk(frame: Frame, around: tuple[str, ...]) -> None:
        if frame.kind is FrameKind.RUN:
            name, *tags = frame.title.split()
            assert name not in said
            said[name] = {*around, *tags}
        for child in frame.frames:
            walk(child, (*around, frame.title))

    for frame in drawing.draw(lab).frames:
        walk(frame, ())
    assert {
        run: {f"@{name}" for name, members in groups.items() if run in members} for run in "uvwxyz"
    } == said


@given(GROUPS)
def test_frames_have_keys_of_their_own(groups: dict[str, list[str]]) -> None:
    lab = a_lab(
        *(Run(name=name, metadata="", jobs=()) for name in "uvwxyz"),
        groups={name: tuple(members) for name, members in groups.items()},
    )
    keys = re.findall(r"subgraph (\w+)", dot.write(drawing.draw(lab)))

    assert len(keys) == len(set(keys))


def hostile_lab(run: str, stage: str, value: str, group: str) -> Lab:
    """Return a Lab in which everything that is shown is hostile."""
    jobs = {
        f"{n}-{stage}-1.0": a_job(f"{n}-{stage}-1.0", {stage: value + str(n)}) for n in range(2)
    }
    return a_lab(Run(name=run, metadata="", jobs=tuple(jobs)), jobs=jobs, groups={group: (run,)})


@given(HOSTILE, HOSTILE, HOSTILE, HOSTILE)
def test_no_name_can_end_a_mermaid_label(run: str, stage: str, value: str, group: str) -> None:
    text = mermaid.write(drawing.draw(hostile_lab(run, stage, value, group), show_params=True))

    for line in text.splitlines():
        assert re.fullmatch(
            r'flowchart LR| +(end|(subgraph )?\w+\["([^"<>`&;\[\]{}|\\]|#\d+;|<br/>)*"\])', line
        )


@pytest.mark.slow
@pytest.mark.needs("graphviz")
def test_graphviz_reads_names_of_any_kind(tmp_path: Path) -> None:
    names = ["end", 'a"b', "a\\", "\\N", "<b>", "a\nb", "x\0y", "é😀", "\udc80", "{a|b}", "", "->"]
    for number, name in enumerate(names):
        path = tmp_path / f"{number}.dot"
        picture = drawing.draw(hostile_lab(name, name, name, name), show_params=True)
        path.write_text(dot.write(picture), encoding="utf-8")
        done = subprocess.run(["dot", "-Tplain", path], text=True, capture_output=True, check=False)

        assert (0, "") == (done.returncode, done.stderr), name
        assert done.stdout.count("\nnode ") == 1, name


# --- less than everything -------------------------------------------------------------------------


def kinds(frames: tuple[Frame, ...]) -> set[FrameKind]:
    return {kind for frame in frames for kind in (frame.kind, *kinds(frame.frames))}


@pytest.mark.parametrize(
    ("options", "left"),
    [
        ([], {FrameKind.STAGE, FrameKind.RUN, FrameKind.GROUP}),
        (["--pipelines"], {FrameKind.STAGE}),
        (["--runs"], {FrameKind.STAGE, FrameKind.RUN}),
        (["--groups"], {FrameKind.STAGE, FrameKind.RUN, FrameKind.GROUP}),
    ],
    ids=["as it is", "pipelines", "runs", "groups"],
)
def test_frames_are_drawn_as_asked(labs: Path, options: list[str], left: set[FrameKind]) -> None:
    lab = replace(open_lab(labs / "scatter-gather").lab, groups={"g": ("sg-run",)})
    asked = {name: f"--{name}" in options for name in ("pipelines", "runs", "groups")}
    picture = viz.layered(drawing.draw(lab), **asked, no_intra_edges=False, no_inter_edges=False)

    assert left == kinds(picture.frames)
    assert len(drawing.draw(lab).edges) == len(picture.edges)


@pytest.mark.parametrize("write", [dot.write, mermaid.write])
def test_without_frames_every_box_and_arrow_is_there(
    labs: Path, write: Callable[[Drawing], str]
) -> None:
    whole = drawing.draw(open_lab(labs / "simple-two-runs").lab)
    text = write(layers.without(whole, kinds={FrameKind.RUN, FrameKind.GROUP}, links=()))

    assert "subgraph" not in text
    assert all(f"{key}[" in text.replace(" [", "[") for key in boxes(whole.frames))
    assert all(edge.tail is None or edge.tail not in text.split() for edge in whole.edges)


@pytest.mark.parametrize(
    ("option", "gone"),
    [("--no-intra-edges", {Link.DATA}), ("--no-inter-edges", {Link.HARD, Link.SOFT})],
)
def test_arrows_are_left_out_as_asked(repx: Repx, labs: Path, option: str, gone: set[Link]) -> None:
    whole = drawing.draw(open_lab(labs / "simple-two-runs").lab)
    said = repx("viz", "-l", labs / "simple-two-runs", "-o", "-", option)

    assert sum(edge.link not in gone for edge in whole.edges) == said.out.count(" -> ")
