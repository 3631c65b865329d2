"""A forgotten build: `run` builds first and says so, other commands tell it in one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeAlias

import pytest

Repx: TypeAlias = Callable[..., Any]  # see conftest.py

LAB: Final = """\
stages:
  a: {outputs: {o: $out/o}, run: 'echo 1 > "${outputs[o]}"'}
pipelines: {main: [a]}
runs: {r: {}}
"""
EDITED: Final = LAB.replace("echo 1", "echo 2")
OLDER: Final = "result is older than its definition: lab.yaml changed; "


@pytest.fixture
def project(repx: Repx, tmp_path: Path) -> Path:
    (tmp_path / "targets.yaml").write_text("targets: {local: {base_path: store}}\n")
    (tmp_path / "lab.yaml").write_text(LAB)
    assert repx("build").code == 0
    return tmp_path


@pytest.mark.slow
def test_a_lab_whose_definition_is_gone_runs_and_says_so(repx: Repx, project: Path) -> None:
    (project / "lab.yaml").rename(project / "study.yaml")
    told = "result was built from lab.yaml, which is gone: a new definition is not noticed\n"
    listed, ran = repx("list"), repx("run")

    assert (0, told) == (listed.code, listed.err)
    assert (0, True) == (ran.code, ran.err.startswith(told))


@pytest.mark.slow
def test_run_by_a_link_to_the_link_builds_what_that_names(repx: Repx, project: Path) -> None:
    (project / "best").symlink_to("result")
    (project / "lab.yaml").write_text(EDITED)
    ran = repx("run", "-l", "best")

    assert "2\n" == output(project)
    assert "result is Lab" in ran.err
    assert "result" == str((project / "best").readlink())


def output(project: Path) -> str:
    (made,) = project.glob("store/outputs/*/out/o")
    return made.read_text()


@pytest.mark.parametrize(
    "words",
    [
        ("list",),
        ("list", "jobs"),
        ("list", "deps", "r"),
        ("list", "groups"),
        ("status",),
        ("show", "job", "r"),
        ("show", "output", "r"),
        ("viz", "-o", "-"),
        ("trace-params",),
        ("run", "-n", "--no-build"),
        ("status", "--json"),
    ],
    ids=" ".join,
)
def test_looking_at_an_old_lab_says_so_in_one_line(
    repx: Repx, project: Path, words: tuple[str, ...]
) -> None:
    before = repx(*words)
    (project / "lab.yaml").write_text(EDITED)
    after = repx(*words)

    assert before.out == after.out
    line = f"{OLDER}`repx build` builds it again\n"
    assert [line] == [each for each in after.err.splitlines(keepends=True) if "older" in each]
    assert "older" not in before.err


@pytest.mark.slow
def test_run_builds_first_and_says_so(repx: Repx, project: Path) -> None:
    assert repx("run").code == 0
    (project / "lab.yaml").write_text(EDITED)
    said = repx("run")

    assert said.code == 0
    assert said.err.startswith("lab.yaml changed: building lab.yaml first\nresult is Lab ")
    assert {"1\n", "2\n"} == {made.read_text() for made in project.glob("store/outputs/*/out/o")}


@pytest.mark.slow
def test_run_takes_the_lab_as_it_is_where_asked(repx: Repx, project: Path) -> None:
    (project / "lab.yaml").write_text(EDITED)
    said = repx("run", "--no-build")

    assert said.code == 0
    assert "1\n" == output(project)


@pytest.mark.slow
def test_a_dry_run_and_render_build_first_too(repx: Repx, project: Path) -> None:
    for words in (("run", "-n"), ("render", "-o", "scripts")):
        (project / "lab.yaml").write_text(
            f"{EDITED}# {words}\n".replace("echo 2", f"echo {words[0]}")
        )
        said = repx(*words, "--json")

        assert "lab.yaml changed: building lab.yaml first\n" in said.err
        assert said.out.startswith("{")


def test_mistakes_stop_the_run_and_leave_the_lab(repx: Repx, project: Path) -> None:
    before = (project / "result").readlink()
    (project / "lab.yaml").write_text(LAB.replace("[a]", "[b]"))
    said = repx("run")

    assert 2 == said.code
    assert "error: lab.yaml:3:20: there is no stage 'b'" in said.err
    assert said.err.endswith("hint: `--no-build` runs the Lab as it is\n")
    assert before == (project / "result").readlink()
    assert f"{OLDER}lab.yaml has mistakes now, `repx build` shows them\n" in repx("list").err


@pytest.mark.slow
def test_going_back_is_told_as_that(repx: Repx, project: Path) -> None:
    first = (project / "result").resolve().name[:12]
    assert f"nothing changed, result is Lab {first}: 1 job, 1 run, 1 stage\n" == repx("build").err
    (project / "lab.yaml").write_text(EDITED)
    assert repx("build").err.startswith("result is Lab ")
    (project / "lab.yaml").write_text(LAB)

    assert f"back to Lab {first}: 1 job, 1 run, 1 stage\n" == repx("build").err
    assert "" == repx("list").err


def test_a_lab_that_nix_built_is_not_built(repx: Repx, project: Path) -> None:
    # A stand-in for the store, which tests may not write.
    (project / "result").unlink()
    (project / "result").symlink_to("/nix/store/0000-lab")
    (project / "flake.nix").write_text("{}")
    said = repx("run")

    assert said.err.startswith(
        "result was built by Nix, and since then flake.nix changed: run `nix build` again\n"
    )
