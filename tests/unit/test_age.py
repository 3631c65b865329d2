"""A Lab that is older than its definition is noticed, and nothing else is taken for one."""

from __future__ import annotations

import functools
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from repx.lab import age, record, seen
from repx.lab.build import build

LAB: Final = """\
stages:
  fit:
    parameters: {table: null, case: null}
    outputs: {o: $out/o.txt}
    script: fit.sh
    files: [helpers, settings.json]
pipelines: {main: [fit]}
runs:
  r:
    parameters: {table: {files: "data/**/*.csv"}, case: {dirs: "cases/*"}}
"""
SIMPLE: Final = """\
stages: {fit: {outputs: {o: $out/o.txt}, script: fit.sh}}
pipelines: {main: [fit]}
runs: {r: {}}
"""
FILES: Final = {
    "lab.yaml": LAB,
    "fit.sh": "#!/bin/sh\necho fit\n",
    "settings.json": "{}",
    "helpers/deep/one.sh": "one",
    "data/a.csv": "a",
    "data/more/b.csv": "b",
    "cases/first/x": "x",
    "other.txt": "not part of the Lab",
}


def no_tool(argv: object, stdin: str) -> None:
    del argv, stdin


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a folder with a Lab just built, and files that are older than a tick."""
    folder = tmp_path / "project"
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / "fit.sh").chmod(0o755)
    build(folder / "lab.yaml", folder / "result", no_tool)
    return folder


def said(project: Path) -> tuple[str, ...] | None:
    """Return what changed; None where the Lab is not older."""
    found = age.of(project / "result")
    return None if found is None else found.changes


def touch(project: Path, when: float) -> None:
    for name in FILES:
        os.utime(project / name, (when, when))


def linked(place: Path) -> None:
    place.symlink_to("other.txt")


def instead_of(place: Path, make: Callable[[Path], object]) -> None:
    place.unlink()
    make(place)


CHANGES: Final[dict[str, tuple[Callable[[Path], object], tuple[str, ...]]]] = {
    "definition": (
        lambda here: (here / "lab.yaml").write_text(LAB.replace("  r:", "  s:")),
        ("lab.yaml changed",),
    ),
    "script": (lambda here: (here / "fit.sh").write_text("#!/bin/sh\n"), ("fit.sh changed",)),
    "file": (lambda here: (here / "settings.json").write_text("[]"), ("settings.json changed",)),
    "file of a folder": (
        lambda here: (here / "helpers/deep/one.sh").write_text("two"),
        ("helpers/deep/one.sh changed",),
    ),
    "new file in a folder": (
        lambda here: (here / "helpers/two.sh").write_text(""),
        ("helpers/two.sh is new",),
    ),
    "scanned file": (lambda here: (here / "data/a.csv").write_text("x"), ("data/a.csv changed",)),
    "new scanned file": (
        lambda here: (here / "data/more/c.csv").write_text("x"),
        ("data/more/c.csv is new",),
    ),
    "deleted scanned file": (
        lambda here: (here / "data/a.csv").unlink(),
        ("data/a.csv is gone",),
    ),
    "renamed scanned file": (
        lambda here: (here / "data/a.csv").rename(here / "data/c.csv"),
        ("data/a.csv is gone", "data/c.csv is new"),
    ),
    "new scanned folder": (
        lambda here: shutil.copytree(here / "cases/first", here / "cases/second"),
        ("cases/second is new",),
    ),
    "new file in a scanned folder": (
        lambda here: (here / "cases/first/y").write_text("y"),
        ("cases/first/y is new",),
    ),
    "execute bit": (lambda here: (here / "helpers/deep/one.sh").chmod(0o755), ()),
    "folder instead of a file": (
        lambda here: instead_of(here / "settings.json", Path.mkdir),
        ("settings.json is gone",),
    ),
    "link to another file": (
        lambda here: instead_of(here / "settings.json", linked),
        ("settings.json changed",),
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_noticed_and_named(project: Path, name: str) -> None:
    assert said(project) is None
    change, names = CHANGES[name]
    change(project)

    assert (names or ("helpers/deep/one.sh changed",)) == said(project)


@pytest.mark.parametrize("name", sorted(CHANGES.keys() - {"folder instead of a file"}))
def test_after_a_build_the_lab_is_no_older(project: Path, name: str) -> None:
    CHANGES[name][0](project)

    assert build(project / "lab.yaml", project / "result", no_tool).new
    assert said(project) is None


SAME: Final[dict[str, Callable[[Path], object]]] = {
    "nothing": lambda _: None,
    "touched": lambda here: touch(here, 5),
    "from the future": lambda here: touch(here, 9e9),
    "comment": lambda here: (here / "lab.yaml").write_text(f"# note\n{LAB}"),
    "another file": lambda here: (here / "other.txt").write_text("x"),
    "written again": lambda here: [(here / name).write_text(FILES[name]) for name in FILES],
    "record gone": lambda here: shutil.rmtree(here / ".repx/built"),
    "record broken": lambda here: (here / ".repx/built/result.json").write_text("{"),
    "record odd": lambda here: (here / ".repx/built/result.json").write_text('{"version": 1}'),
    "link gone": lambda here: (here / "result").unlink(),
    "a folder": lambda here: instead_of(here / "result", Path.mkdir),
}


@pytest.mark.parametrize("name", SAME)
def test_what_makes_no_other_lab_is_not_told(project: Path, name: str) -> None:
    SAME[name](project)

    assert said(project) is None
    assert said(project) is None  # also once the record was written again


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the names of the files that are hashed from now on."""
    names: list[str] = []
    real = seen._sha256

    def count(path: Path) -> str:
        names.append(path.name)
        return real(path)

    monkeypatch.setattr(seen, "_sha256", count)
    monkeypatch.setattr(seen, "_TICK_NS", 0)
    return names


def test_nothing_is_hashed_that_size_and_time_show_unchanged(
    project: Path, hashed: list[str]
) -> None:
    build(project / "lab.yaml", project / "result", no_tool)
    hashed.clear()

    assert said(project) is None
    build(project / "lab.yaml", project / "result", no_tool)
    assert [] == hashed
    (project / "data/a.csv").write_text("x")
    assert ("data/a.csv changed",) == said(project)
    assert ["a.csv"] == hashed


@pytest.mark.usefixtures("hashed")
def test_a_look_costs_two_calls_a_file_and_reads_only_the_record(tmp_path: Path) -> None:
    (tmp_path / "lab.yaml").write_text(SIMPLE)
    (tmp_path / "fit.sh").write_text(FILES["fit.sh"])
    build(tmp_path / "lab.yaml", tmp_path / "result", no_tool)
    assert said(tmp_path) is None
    real = Path.stat
    seen_paths: list[str] = []
    reads: list[str] = []

    def count(path: Path) -> os.stat_result:
        seen_paths.append(path.name)
        return real(path)

    def note(event: str, arguments: tuple[object, ...]) -> None:
        if event == "open" and str(arguments[0]).startswith(str(tmp_path)) and watching:
            reads.append(Path(str(arguments[0])).name)

    watching = True
    sys.addaudithook(note)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "stat", count)
        assert said(tmp_path) is None
    watching = False

    assert ["fit.sh", "lab.yaml"] == sorted(set(seen_paths))
    assert len(seen_paths) <= 4
    assert ["result.json"] == reads


def test_a_touched_file_is_hashed_once(project: Path, hashed: list[str]) -> None:
    said(project)
    hashed.clear()
    os.utime(project / "fit.sh", (5, 5))

    assert said(project) is None
    assert said(project) is None
    assert ["fit.sh"] == hashed


def test_a_file_that_changed_just_now_is_not_trusted_by_its_times(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("x")
    now = (tmp_path / "x").stat().st_ctime_ns

    for clock, sure in ((now, False), (now + 10**9, True), (now - 10**9, True)):
        look = seen.Looks(tmp_path, now_ns=functools.partial(int, clock)).at("x")
        assert sure is (look.stamp is not None)


def test_a_change_of_equal_size_and_time_is_noticed(project: Path) -> None:
    before = (project / "data/a.csv").stat()
    (project / "data/a.csv").write_text("z")
    os.utime(project / "data/a.csv", ns=(before.st_atime_ns, before.st_mtime_ns))

    assert ("data/a.csv changed",) == said(project)


def test_an_edit_during_the_build_is_noticed(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "lab.yaml").write_text(LAB.replace("  r:", "  s:"))

    def edit(argv: object, stdin: str) -> None:
        del argv, stdin

    real = record.write

    def write_late(link: Path, made: record.Record) -> None:
        (project / "lab.yaml").write_text(LAB.replace("  r:", "  t:"))
        real(link, made)

    monkeypatch.setattr(record, "write", write_late)
    build(project / "lab.yaml", project / "result", edit)
    monkeypatch.setattr(record, "write", real)

    assert ("lab.yaml changed",) == said(project)


def test_a_definition_with_mistakes_is_told(project: Path) -> None:
    (project / "lab.yaml").write_text("x: :")
    found = age.of(project / "result")

    assert found is not None
    assert found.broken


def test_an_undone_change_is_no_change(project: Path) -> None:
    (project / "fit.sh").write_text("#!/bin/sh\n")
    assert said(project) is not None
    (project / "fit.sh").write_text(FILES["fit.sh"])

    assert said(project) is None


def test_a_copied_project_answers_for_its_own_files(project: Path, tmp_path: Path) -> None:
    shutil.copytree(project, tmp_path / "copy", symlinks=True)
    (tmp_path / "copy/fit.sh").write_text("#!/bin/sh\n")

    assert ("fit.sh changed",) == said(tmp_path / "copy")
    assert said(project) is None


def test_a_renamed_link_is_known_by_its_lab(project: Path) -> None:
    (project / "result").rename(project / "kept")
    (project / "fit.sh").write_text("#!/bin/sh\n")
    found = age.of(project / "kept")

    assert found is not None
    assert ("fit.sh changed",) == found.changes


def test_a_link_to_the_link_leads_to_it(project: Path, tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    far = tmp_path / "far/best"
    far.symlink_to(project / "result")
    (project / "current").symlink_to("result")

    assert project / "result" == record.own(far) == record.own(project / "current")
    assert tmp_path / "none" == record.own(tmp_path / "none")


def test_a_definition_that_is_gone_is_told_without_a_change(project: Path) -> None:
    (project / "lab.yaml").rename(project / "study.yaml")
    found = age.of(project / "result")

    assert found is not None
    assert ((), project / "lab.yaml") == (found.changes, found.source)


def test_a_link_that_was_pointed_to_another_lab_by_hand_is_left_alone(project: Path) -> None:
    old = (project / "result").readlink()
    (project / "lab.yaml").write_text(LAB.replace("  r:", "  s:"))
    build(project / "lab.yaml", project / "result", no_tool)
    (project / "result").unlink()
    (project / "result").symlink_to(old)

    assert said(project) is None


def test_a_definition_elsewhere_and_another_link(project: Path, tmp_path: Path) -> None:
    link = tmp_path / "elsewhere/lab"
    link.parent.mkdir()
    build(project / "lab.yaml", link, no_tool)
    assert age.of(link) is None
    (project / "fit.sh").write_text("#!/bin/sh\n")
    found = age.of(link)

    assert found is not None
    assert project / "lab.yaml" == (found.source or Path()).resolve()


def test_a_definition_behind_a_link(project: Path, tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.mkdir()
    (here / "lab.yaml").symlink_to(project / "lab.yaml")
    build(here / "lab.yaml", here / "result", no_tool)
    assert said(here) is None
    (project / "fit.sh").write_text("#!/bin/sh\n")

    assert ("fit.sh changed",) == said(here)


def test_where_nothing_can_be_written_the_look_costs_time_only(project: Path) -> None:
    place = project / ".repx/built/result.json"
    os.utime(project / "fit.sh", (5, 5))
    place.parent.chmod(0o500)
    before = place.read_bytes()

    assert said(project) is None
    if os.geteuid() != 0:
        assert before == place.read_bytes()
    place.parent.chmod(0o700)


def test_a_lab_that_nix_built_is_compared_with_the_flake(tmp_path: Path) -> None:
    (tmp_path / "flake.nix").write_text("{}")
    os.utime(tmp_path / "flake.nix", (5, 5))
    (tmp_path / "result").symlink_to("/nix/store/0000-lab")
    assert said(tmp_path) is None
    os.utime(tmp_path / "flake.nix", (9e9, 9e9))
    found = age.of(tmp_path / "result")

    assert found is not None
    assert (None, ("flake.nix changed",)) == (found.source, found.changes)


def test_a_project_of_many_changes_names_the_first(project: Path) -> None:
    for number in range(7):
        (project / f"data/{number}.csv").write_text("x")
    found = age.of(project / "result")

    assert found is not None
    names = ", ".join(f"data/{number}.csv is new" for number in range(3))
    assert f"{names} and 4 more" == found.changed


def test_a_definition_that_cannot_be_looked_at_is_not_known_to_have_changed(
    project: Path, unreadable: Callable[[Path], None]
) -> None:
    moved = project.with_name("elsewhere")
    moved.mkdir()
    shutil.move(project / "lab.yaml", moved / "lab.yaml")
    (project / "lab.yaml").symlink_to(moved / "lab.yaml")

    unreadable(moved)

    assert age.of(project / "result") is None
