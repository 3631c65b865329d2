"""`software:` and `image:` at each level of lab.yaml, the lock file, files of requirements."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from repx.errors import InputError, ProblemsError, RepxError
from repx.lab import build, lockfile
from repx.lab.software import declared, packages, registry, requirements
from repx.lab.software.declared import Packages
from repx.lab.software.packages import Pins

LAB: Final = {
    "stages": {
        "one": {"outputs": {"o": "$out/o"}, "run": 'echo >"$out/o"'},
        "two": {"inputs": ["o"], "outputs": {"t": "$out/t"}, "script": "two.py"},
    },
    "pipelines": {"p": ["one", "two"]},
    "runs": {"r": {}, "s": {}},
}


def project(folder: Path, **lab: object) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "two.py").write_text("#!/usr/bin/env python3\n")
    (folder / "lab.yaml").write_text(json.dumps({**LAB, **lab}))
    return folder


def environment(folder: Path, name: str = "requirements.txt", line: str = "a==1") -> Pins:
    """Write what a build leaves that installed a package: its pins and its files."""
    (folder / name).write_text(f"{line}\n")
    wanted = Packages(kind="venv", file=name, python=None)
    pins = Pins(sums=packages.sums(wanted, folder), python="3.11", platform="linux", lines=(line,))
    place = folder / ".repx/software" / pins.key
    (place / "bin").mkdir(parents=True)
    (place / "bin/python3").write_text(f"#!/bin/sh\n# {line}\n")
    listed = {"bin/python3": ["0" * 64, True]}
    place.with_name(f"{pins.key}.json").write_text(json.dumps(listed))
    lock = lockfile.read(folder / "lab.yaml")
    lock.pin("packages", packages.name_in_lock(wanted), pins.document())
    used = [
        ("packages", packages.name_in_lock(replace(wanted, each.name)))
        for each in folder.glob("*.txt")
    ]
    lock.write(used)
    return pins


def replace(wanted: Packages, file: str) -> Packages:
    return Packages(kind=wanted.kind, file=file, python=wanted.python)


def built(folder: Path) -> build.Built:
    return build.build(folder / "lab.yaml", folder / "result", lambda _argv, _text: None)


def scripts(made: build.Built) -> dict[str, dict[str, str]]:
    """Return the scripts of each run by stage."""
    found: dict[str, dict[str, str]] = {}
    for run in made.runs:
        metadata = json.loads((made.path / f"revision/metadata-{run}.json").read_text())
        found[run] = {
            job["name"].partition("-")[0]: (
                made.path / job["executables"]["main"]["path"]
            ).read_text()
            for job in metadata["jobs"].values()
        }
    return found


def metadata(made: build.Built, run: str) -> Any:  # noqa: ANN401  # JSON
    return json.loads((made.path / f"revision/metadata-{run}.json").read_text())


def test_the_innermost_software_of_a_kind_counts() -> None:
    lab: Mapping[str, Any] = {"venv": "lab.txt", "modules": ["gcc"]}
    run: Mapping[str, Any] = {"uv": "uv.lock", "python": "3.12"}
    stage: Mapping[str, Any] = {"modules": []}

    found = declared.of((lab, run, stage))

    assert Packages(kind="uv", file="uv.lock", python="3.12") == found.packages
    assert () == found.modules
    assert ("gcc",) == declared.of((lab, run, {})).modules
    assert declared.Software() == declared.of(({}, {}, {}))


def test_packages_that_are_there_need_no_program(tmp_path: Path) -> None:
    folder = project(tmp_path, software={"venv": "requirements.txt"})
    pins = environment(folder)

    made = built(folder)

    entry = f"{pins.key}-python"
    assert (made.path / f"store/{entry}/bin/python3").stat().st_nlink == 2, "shared, not copied"
    for text in scripts(made)["r"].values():
        assert f"VIRTUAL_ENV=$REPX_LAB/store/{entry}" in text
    assert not built(folder).new


def test_jobs_are_new_when_a_pin_changes(tmp_path: Path) -> None:
    jobs: list[set[str]] = []
    for line in ("a==1", "a==2", "a==1"):
        folder = project(tmp_path / f"{len(jobs)}", software={"venv": "requirements.txt"})
        environment(folder, line=line)
        jobs.append(set(metadata(built(folder), "r")["jobs"]))

    assert not jobs[0] & jobs[1]
    assert jobs[0] == jobs[2]


def test_a_stage_and_a_run_name_software_of_their_own(tmp_path: Path) -> None:
    stages = json.loads(json.dumps(LAB["stages"]))
    stages["one"]["software"] = {"modules": ["tool/1"]}
    folder = project(
        tmp_path,
        software={"venv": "a.txt"},
        stages=stages,
        runs={"r": {}, "s": {"software": {"venv": "b.txt", "modules": ["gcc/13", "mpi"]}}},
    )
    first = environment(folder, "a.txt", "a==1")
    second = environment(folder, "b.txt", "b==1")

    texts = scripts(built(folder))

    assert first.key in texts["r"]["one"]
    assert "\nrepx_modules tool/1\n" in texts["r"]["one"]
    assert "repx_modules" not in texts["r"]["two"]
    assert second.key in texts["s"]["two"]
    assert "\nrepx_modules gcc/13 mpi\n" in texts["s"]["two"]
    assert "\nrepx_modules tool/1\n" in texts["s"]["one"], "the stage is further inside"


def test_mistakes_are_shown_before_anything_is_installed(tmp_path: Path) -> None:
    folder = project(tmp_path, software={"venv": "two.py"}, pipelines={"p": ["one", "no"]})

    with pytest.raises(ProblemsError) as caught:
        built(folder)

    assert "'no'" in str(caught.value)
    assert "python3 is not installed" not in str(caught.value)


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"venv": "absent.txt"}, "lab.yaml:1:15: venv: cannot read"),
        ({"conda": "x.yml"}, "conda: not supported, since such an environment works only at"),
        ({"pixi": "pixi.lock"}, "pixi: not supported"),
        ({"uv": "poetry.lock"}, "uv: 'poetry.lock' is not understood, write it like uv.lock"),
        ({"modules": ["a; b"]}, "modules[0]: 'a; b' is not understood, write it like gcc/13"),
        ({"venv": "a.txt", "python": 3.1}, 'python: 3.1 is a number, wanted a string like "3.12"'),
        ({}, "software: is empty"),
        ({"venv": "two.py"}, "venv: python3 is not installed"),
    ],
)
def test_software_that_cannot_be_had_is_named(
    wanted: dict[str, object], said: str, tmp_path: Path
) -> None:
    folder = project(tmp_path)
    text = json.dumps({"software": wanted, **LAB})
    (folder / "lab.yaml").write_text(text)

    with pytest.raises(ProblemsError) as caught:
        built(folder)

    assert said in str(caught.value)


def test_requirements_are_read_with_what_they_include(tmp_path: Path) -> None:
    (tmp_path / "more/wheels").mkdir(parents=True)
    top = tmp_path / "requirements.txt"
    top.write_text(
        "-r more/base.txt\n--index-url=https://pypi.example/simple # ours\nnumpy>=1 \\\n  ,<3\n"
    )
    base = tmp_path / "more/base.txt"
    base.write_text(
        "-c ../pins.txt\n--find-links \\\n  wheels\n--hash=sha256:0\n-r requirements.txt\n"
    )
    (tmp_path / "more/requirements.txt").write_text("-rbase.txt\n--no-index\n")
    pins = tmp_path / "pins.txt"
    pins.write_text("numpy==2 --hash=sha256:1\n")

    found = requirements.files(top)

    assert {"requirements.txt", "base.txt", "pins.txt"} == {path.name for path in found}
    assert 4 == len(found)
    assert (
        "--index-url https://pypi.example/simple",
        f"--find-links file://{tmp_path}/more/wheels",
        "--no-index",
    ) == requirements.places(top)


def test_a_lock_file_keeps_what_is_used_and_nothing_else(tmp_path: Path) -> None:
    source = tmp_path / "study.yaml"
    lock = lockfile.read(source)
    one, two = (f"sha256:{digit * 64}" for digit in "12")
    lock.pin("images", "docker://a", one)
    lock.pin("images", "docker://b", two)

    lock.write([("images", "docker://a")])

    again = lockfile.read(source)
    assert (tmp_path / "study.lock") == again.file
    assert again.get("images", "docker://a") == one
    assert again.get("images", "docker://b") is None
    again.write([])
    assert not again.file.exists()


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "{}", '{"version": 2}', '{"version": 1, "images": 3}', "<<<<<<< HEAD"),
        *(
            f'{{"version": 1, "images": {{"docker://a": {pinned}}}}}'
            for pinned in ("1", "null", '"sha256:12"', f'"sha512:{"0" * 64}"')
        ),
        *(
            f'{{"version": 1, "packages": {{"venv a.txt": {pinned}}}}}'
            for pinned in ("1", "null", "{}", '{"files": 3, "python": 1, "platform": 1, "pins": 1}')
        ),
    ],
)
def test_a_broken_lock_file_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "lab.lock").write_text(text)

    with pytest.raises(InputError, match=r"lab\.lock: "):
        lockfile.read(tmp_path / "lab.yaml")


def test_an_image_named_by_its_digest_needs_no_registry_to_be_pinned(tmp_path: Path) -> None:
    digest = f"sha256:{'a' * 64}"

    def no_programs(argv: Sequence[str], cwd: Path) -> None:
        raise AssertionError(argv, cwd)

    for name in ("docker://host:5000/a", "docker://host:5000/a:1"):
        assert digest == registry.pin(f"{name}@{digest}", no_programs, tmp_path)
        assert registry.repository(f"{name}@{digest}") == "docker://host:5000/a"


@pytest.mark.skipif(sys.platform != "linux", reason="a folder that nobody may write to")
def test_a_lock_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    lock = lockfile.read(tmp_path / "lab.yaml")
    (tmp_path / "lab.lock").mkdir()
    lock.pin("images", "a", "b")

    with pytest.raises(RepxError, match="cannot write"):
        lock.write([("images", "a")])


def test_pins_of_another_platform_have_a_name_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = Packages(kind="venv", file="a.txt", python="3.12")
    here = packages.name_in_lock(wanted)
    monkeypatch.setattr("platform.machine", lambda: "riscv64")

    assert here != packages.name_in_lock(wanted)
    assert packages.name_in_lock(wanted).endswith("on Linux riscv64, Python 3.12")


def test_a_program_that_names_its_python_by_path_is_warned_of(tmp_path: Path) -> None:
    folder = project(tmp_path, software={"venv": "requirements.txt"})
    environment(folder)
    (folder / "two.py").write_text("#!/usr/bin/python3 -u\n")

    (warning,) = built(folder).warnings

    assert "'two.py' is run by /usr/bin/python3, which has none of the packages" in str(warning)


def test_two_kinds_of_packages_side_by_side_are_refused(tmp_path: Path) -> None:
    folder = project(tmp_path, software={"venv": "requirements.txt", "uv": "uv.lock"})

    with pytest.raises(ProblemsError, match=r"lab\.yaml:\d+:\d+: `venv` and `uv` stand side by"):
        built(folder)


def test_modules_beside_an_image_are_warned_of(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    folder = project(tmp_path, image="root", software={"modules": ["gcc"]})

    warnings = {str(each).partition("stage ")[2] for each in built(folder).warnings}

    assert {
        f"'{key}': its image hides the modules of the machine" for key in ("one", "two")
    } == warnings
