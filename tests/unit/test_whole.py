"""Nothing that repx writes in a project or a cache is written through a link planted there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from repx import whole
from repx.errors import RepxError
from repx.lab.build import build

if TYPE_CHECKING:
    from tests.unit.conftest import Repx

LAB: Final = """\
stages:
  one: {outputs: {o: $out/o}, run: 'echo 1 >o'}
pipelines: {p: [one]}
runs: {r: {}}
"""
KEPT: Final = "mine\n"


def _planted(folder: Path, names: list[Path]) -> dict[Path, Path]:
    """Put a link for each name to a file of its own outside; every other one leads nowhere yet."""
    victims = {}
    for number, name in enumerate(names):
        victims[name] = folder.parent / f"victim{number}"
        if number % 2 == 0:
            victims[name].write_text(KEPT)
        name.parent.mkdir(parents=True, exist_ok=True)
        name.symlink_to(victims[name])
    return victims


def test_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "file").symlink_to(tmp_path / "victim")
    (tmp_path / "victim").write_text(KEPT)

    whole.write(tmp_path / "file", "new\n")

    assert KEPT == (tmp_path / "victim").read_text()
    assert not (tmp_path / "file").is_symlink()
    assert ["file", "victim"] == sorted(os.listdir(tmp_path))  # noqa: PTH208  # names only


def test_what_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").mkdir()

    with pytest.raises(OSError, match="directory"):
        whole.write(tmp_path / "file", "new\n")

    assert ["file"] == os.listdir(tmp_path)  # noqa: PTH208  # names only


@pytest.mark.slow
def test_a_project_of_a_stranger_leads_no_build_out_of_it(
    repx: Repx, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Links stand for every file that a build and other commands write, and for those beside."""
    first = tmp_path / "first"
    _use(repx, first, monkeypatch)
    files = [path for path in first.rglob("*") if path.is_file() and not path.is_symlink()]
    made = {path.relative_to(first) for path in files if not {"labs", "rendered"} & {*path.parts}}
    assert {".repx/.gitignore", "picture.dot"} <= set(map(str, made))
    made |= {Path(name) for name in (".repx/answers.json", "lab.lock", "result")}
    made |= {path.with_name(f"{path.name}.part") for path in made}
    made -= {Path(name) for name in ("lab.yaml", "lab.lock", "targets.yaml", "result")}
    second = tmp_path / "second"
    second.mkdir()
    victims = _planted(second, [second / name for name in sorted(made)])
    before = {path: path.exists() for path in victims.values()}

    _use(repx, second, monkeypatch)

    for name, victim in victims.items():
        assert before[victim] == victim.exists(), name
        assert not victim.exists() or victim.read_text() == KEPT, name


def test_a_link_for_the_lock_of_builds_is_refused(tmp_path: Path) -> None:
    (tmp_path / "lab.yaml").write_text(LAB)
    (tmp_path / ".repx/labs").mkdir(parents=True)
    (tmp_path / ".repx/labs/.lock").symlink_to(tmp_path / "victim")
    (tmp_path / "victim").write_text(KEPT)

    with pytest.raises(RepxError, match="symbolic links"):
        build(tmp_path / "lab.yaml", tmp_path / "result", lambda *_: None)

    assert KEPT == (tmp_path / "victim").read_text()


def _use(repx: Repx, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project.mkdir(exist_ok=True)
    (project / "lab.yaml").write_text(LAB)
    (project / "targets.yaml").write_text("targets: {here: {base_path: ../store}}\n")
    monkeypatch.chdir(project)
    assert build(project / "lab.yaml", project / "result", lambda *_: None).jobs == 1
    repx("build")
    repx("run")
    repx("viz", "-o", "picture.dot")
    repx("render", "--force", "r", "-o", "rendered")
