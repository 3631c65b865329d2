"""`software:` in lab.yaml: packages and modules that a job finds wherever it runs."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from tests.real.place import Place
from tests.wheels import index, wheel

if TYPE_CHECKING:
    from tests.real.sshd import Sshd

REQUIREMENTS: Final = "--no-index\n--find-links wheels\ngreet  # any version\n"
LAB: Final = {
    "software": {"venv": "requirements.txt"},
    "stages": {
        "say": {
            "outputs": {"text": "$out/text"},
            "run": 'greet >"$out/text"\npython3 -c "import sys; print(sys.prefix)" >>"$out/text"',
        },
        "check": {"inputs": ["text"], "outputs": {"json": "$out/j"}, "script": "check.py"},
    },
    "pipelines": {"p": ["say", "check"]},
    "runs": {"r": {}},
}
CHECK: Final = """\
#!/usr/bin/env python3
import importlib.metadata, json, subprocess, sys
import greet, repx_py
child = subprocess.run([sys.executable, "-m", "greet"], check=True)
told = [greet.version, greet.__file__, sys.prefix, importlib.metadata.version("greet"), sys.path]
repx_py.stage().outputs["json"].write_text(json.dumps(told))
"""


def project(here: Place, **lab: object) -> Place:
    """Write a project whose stages need the package `greet`."""
    wheel(here.folder / "wheels")
    here.write("requirements.txt", REQUIREMENTS)
    here.write("check.py", CHECK)
    here.write("lab.yaml", json.dumps({**LAB, **lab}))
    return here


def told(here: Place) -> list[str]:
    (answer,) = here.output("*-check-*/out/j")
    found: list[str] = json.loads(answer)
    return found


def jobs(here: Place) -> set[str]:
    return {path.name for path in (here.folder / "result/jobs").iterdir()}


@pytest.fixture(scope="module")
def project_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a project that was built: packages are installed once for all tests."""
    folder = tmp_path_factory.mktemp("software")
    (folder / "here").mkdir()
    here = project(Place(folder / "here", folder / "store", {"XDG_CACHE_HOME": str(folder)}))
    here.repx("build")
    return here.folder


@pytest.fixture
def built(empty: Place, project_once: Path) -> Place:
    shutil.copytree(project_once, empty.folder, symlinks=True, dirs_exist_ok=True)
    return empty


def test_jobs_find_the_packages_and_no_others(built: Place, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other/greet.py").write_text("raise SystemExit('the wrong one')")

    built.repx("run", env={"PYTHONPATH": str(tmp_path / "other"), "PYTHONHOME": ""})

    version, file, prefix, distribution, path = told(built)
    assert ("1.0", "1.0") == (version, distribution)
    assert file.startswith(f"{built.store}/labs/")
    assert file.startswith(prefix)
    assert not [each for each in path if "site-packages" in each and not each.startswith(prefix)]
    assert [f"greet 1.0\n{prefix}\n"] == built.output("*-say-*/out/text")


def test_what_did_not_change_is_not_installed_again(built: Place) -> None:
    said = built.repx("build", env={"PATH": "/usr/bin:/bin"})

    assert said.startswith("nothing changed"), said
    assert {"new-"}.isdisjoint(
        path.name[:4] for path in (built.folder / ".repx/software").iterdir()
    )
    built.write("requirements.txt", f"{REQUIREMENTS}# a comment\n")
    before = jobs(built)
    assert "looking for the packages" in built.repx("build")
    assert before == jobs(built)


def test_the_lock_file_keeps_versions_until_they_are_renewed(built: Place) -> None:
    before = jobs(built)
    wheel(built.folder / "wheels", version="2.0")
    shutil.rmtree(built.folder / ".repx")
    (built.folder / "result").unlink()

    built.repx("build")
    assert before == jobs(built)

    built.repx("run")
    built.repx("build", "--update")
    assert not before & jobs(built)
    assert "script changed: package greet 1.0 → 2.0" in built.repx("run", "--dry-run")
    built.repx("run")
    assert {"1.0", "2.0"} == {json.loads(text)[0] for text in built.output("*-check-*/out/j")}


def test_a_changed_wheel_is_refused(built: Place) -> None:
    path = wheel(built.folder / "wheels")
    path.write_bytes(path.read_bytes() + b"\0" * 3)
    shutil.rmtree(built.folder / ".repx")

    said = built.repx("build", code=2)

    assert "lab.yaml:1:" in said
    assert "venv: pip install failed" in said
    assert "DO NOT MATCH THE HASHES" in said


def test_packages_of_a_lab_work_with_another_python_of_the_version(built: Place) -> None:
    """The launcher names the Python of the machine that built; others have theirs elsewhere."""
    (launcher,) = (built.folder / "result/store").glob("*-python/bin/python3")
    moved = built.folder / "moved/environment"
    shutil.copytree(launcher.parents[1], moved)
    for name in ("python", "python3", f"python{sys.version_info[0]}.{sys.version_info[1]}"):
        python = moved / "bin" / name
        text = python.read_text()
        home = text.partition("home=")[2].partition(" ")[0]
        python.chmod(stat.S_IRWXU)
        python.write_text(text.replace(f"home={home}", "home=/nowhere"))
    (moved / "pyvenv.cfg").chmod(stat.S_IRWXU)
    (moved / "pyvenv.cfg").write_text("home = /nowhere\ninclude-system-site-packages = false\n")
    base = Path(sys.base_prefix, "bin")

    def run(path: str) -> subprocess.CompletedProcess[str]:
        words = ["greet"]
        env = {"PATH": f"{moved}/bin:{path}:/bin", "HOME": "/"}
        return subprocess.run(words, env=env, capture_output=True, text=True, check=False)

    done = run(str(base))
    assert ("greet 1.0\n", "") == (done.stdout, done.stderr)
    done = run(str(Path(sys.executable).parent))  # of another virtual environment
    assert ("greet 1.0\n", "") == (done.stdout, done.stderr)
    (built.folder / "old").mkdir()
    (built.folder / "old/python3").write_text("#!/bin/sh\nexit 1\n")
    (built.folder / "old/python3").chmod(stat.S_IRWXU)
    tools = built.folder / "old"
    for tool in ("bash", "env"):
        (tools / tool).symlink_to(f"/usr/bin/{tool}")
    done = subprocess.run(
        ["/bin/bash", moved / "bin/python3", "-c", "1"],
        env={"PATH": f"{moved}/bin:{tools}", "HOSTNAME": "n7"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 127
    assert "the packages of requirements.txt need Python" in done.stderr
    assert "which n7 does not have" in done.stderr


def test_a_copy_of_the_project_gives_the_same_lab_from_the_lock(empty: Place) -> None:
    """An included file names a wheel's file, in folders whose names pip would split."""
    first = dataclasses.replace(empty, folder=empty.folder / "my lab, 'x' ü $y")
    first.folder.mkdir()
    project(first)
    (first.folder / "wheels").rename(first.folder / "the wheels")
    first.write("more.txt", "./the wheels/greet-1.0-py3-none-any.whl\n")
    first.write("requirements.txt", '--no-index\n--find-links "the wheels"\n-r more.txt\n')
    first.repx("build")
    second = dataclasses.replace(empty, folder=empty.folder / "copy")
    shutil.copytree(
        first.folder, second.folder, ignore=shutil.ignore_patterns(".repx", "result", ".run")
    )
    shutil.rmtree(first.folder / "the wheels")

    second.repx("build")

    assert jobs(first) == jobs(second)
    second.use()
    second.repx("run")
    assert told(second)[0] == "1.0"
    (second.folder / "the wheels/greet-1.0-py3-none-any.whl").unlink()
    shutil.rmtree(second.folder / ".repx/software")
    assert "No such file" in second.repx("build", code=2)


def test_a_run_and_a_stage_have_software_of_their_own(empty: Place) -> None:
    wheel(empty.folder / "wheels", version="2.0")
    empty.write("old.txt", REQUIREMENTS.replace("greet", "greet<2"))
    stages = json.loads(json.dumps(LAB["stages"]))
    stages["say"]["software"] = {"venv": "old.txt"}
    here = project(
        empty,
        stages=stages,
        runs={"r": {}, "s": {"pipelines": ["p"], "software": {"venv": "old.txt"}}},
    )
    here.repx("build")
    here.repx("run", "r", "s")

    texts = {text.split()[1] for text in here.output("*-say-*/out/text")}
    assert {"1.0"} == texts  # the same stage with the same software: one job
    assert {"1.0", "2.0"} == {json.loads(text)[0] for text in here.output("*-check-*/out/j")}


@pytest.mark.needs("ssh")
def test_the_packages_travel_to_another_machine(built: Place, sshd: Sshd) -> None:
    built.use(address="far", ssh_config=str(sshd.config))

    built.repx("run")

    assert told(built)[1].startswith(f"{built.store}/labs/")
    assert "nothing to do" in built.repx("run")


@pytest.mark.needs("bwrap")
def test_an_isolated_job_finds_the_packages(built: Place) -> None:
    built.use(runtime="bwrap", rootfs="host")

    built.repx("run")

    assert told(built)[0] == "1.0"
    (job,) = (name for name in jobs(built) if "-say-" in name)
    assert "greet 1.0" in built.repx("debug-run", job, "-c", "python3 -m greet")


def test_the_shell_of_debug_run_finds_the_packages(built: Place) -> None:
    (job,) = (name for name in jobs(built) if "-say-" in name)

    assert "greet 1.0" in built.repx("debug-run", job, "-c", "greet")


def test_a_killed_installation_leaves_nothing_that_counts(empty: Place) -> None:
    here = project(empty)
    left = here.folder / ".repx/software/new-killed/environment"
    left.mkdir(parents=True)

    other = here.folder.parent / "other"
    shutil.unpack_archive(wheel(here.folder / "wheels"), other, "zip")

    here.repx("build", env={"PYTHONPATH": str(other)})

    assert not left.exists()
    assert [*here.folder.glob("result/store/*-python/lib/*/site-packages/greet.py")], (
        "installed, though PYTHONPATH leads to another one"
    )


def test_an_interrupted_build_ends_what_installs(empty: Place) -> None:
    here = project(empty)
    pip = here.write("bin/python3", f"#!/bin/sh\necho $$ >{here.folder}/pid\nexec sleep 60\n")
    pip.chmod(stat.S_IRWXU)
    process = here.start("build", PATH=f"{pip.parent}:/usr/bin:/bin")
    here.wait_until((here.folder / "pid").exists)
    pid = int((here.folder / "pid").read_text() or 0)

    process.send_signal(signal.SIGINT)

    _, said = process.communicate(timeout=60)
    assert (process.returncode, "interrupted") == (130, said.split()[-1])
    here.wait_until(lambda: not Path(f"/proc/{pid}").exists())
    assert [] == [*(here.folder / ".repx/software").glob("new-*")]


PYPROJECT: Final = """\
[project]
name = "study"
version = "1"
requires-python = ">=3.9"
dependencies = ["greet"]
[dependency-groups]
dev = ["absent-in-jobs"]
[[tool.uv.index]]
url = "{index}"
default = true
"""


def test_the_packages_of_a_uv_lock(empty: Place) -> None:
    here = project(empty, software={"uv": "study/uv.lock"})
    wheels = here.folder / "wheels"
    wheel(wheels, "absent_in_jobs")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {"UV_CACHE_DIR": str(here.folder.parent / "uv"), "PATH": path}
    with index(wheels) as address:
        here.write("study/pyproject.toml", PYPROJECT.replace("{index}", address))
        subprocess.run(
            ["uv", "lock", "--quiet"],
            cwd=here.folder / "study",
            env={**os.environ, **environment},
            check=True,
        )
        wheel(wheels, version="2.0")

        here.repx("build", env=environment)
    here.repx("run")

    assert told(here)[0] == "1.0"
    assert not [*(here.folder / ".repx/software").rglob("absent_in_jobs*")]
    assert here.repx("build", env={"PATH": "/usr/bin:/bin"}).startswith("nothing changed")


def test_without_uv_the_error_says_how_to_get_it(empty: Place) -> None:
    here = project(empty, software={"uv": "uv.lock"})
    here.write("pyproject.toml", PYPROJECT)
    here.write("uv.lock", "version = 1\n")

    said = here.repx("build", code=2, env={"PATH": "/usr/bin:/bin"})

    assert "uv: uv is not installed: `pip install uv` installs it" in said


MODULES: Final = {
    "software": {"modules": ["tool/1.2"]},
    "stages": {
        "use": {"outputs": {"o": "$out/o"}, "run": 'tool >"$out/o"'},
        "miss": {
            "outputs": {"o": "$out/o"},
            "run": 'date >"$out/o"',
            "software": {"modules": ["absent/7"]},
        },
    },
    "pipelines": {"p": ["use"], "q": ["miss"]},
    "runs": {"good": {"pipelines": ["p"]}, "bad": {"pipelines": ["q"]}},
}


def with_modules(here: Place, **profile: object) -> None:
    """Make a module that brings a program, and a Lab that needs it and one that is absent."""
    tool = here.write("tools/tool", "#!/bin/sh\necho tool of a module\n")
    tool.chmod(stat.S_IRWXU)
    here.write("modules/tool/1.2", f"#%Module\nprepend-path PATH {tool.parent}\n")
    here.write("lab.yaml", json.dumps(MODULES))
    here.use(environment={"MODULEPATH": str(here.folder / "modules")}, **profile)
    here.repx("build")


@pytest.mark.needs("modules")
def test_modules_are_loaded_where_the_job_runs(empty: Place) -> None:
    here = empty
    with_modules(here)

    here.repx("run", "good")
    assert ["tool of a module\n"] == here.output("*-use-*/out/o")

    said = here.repx("run", "bad", code=1)
    assert "repx: cannot load the modules of this stage (absent/7): `module load" in said


@pytest.mark.needs("modules", "bwrap")
@pytest.mark.parametrize("isolates", [False, True])
def test_debug_run_loads_the_modules(empty: Place, *, isolates: bool) -> None:
    here = empty
    mounts = [f"{here.folder}/{name}:ro" for name in ("modules", "tools")]
    profile = {"runtime": "bwrap", "rootfs": "host", "mount_paths": mounts} if isolates else {}
    with_modules(here, **profile)
    jobs = {path.name.split("-")[1]: path.name for path in (here.folder / "result/jobs").iterdir()}

    said = here.repx("debug-run", jobs["use"], "-c", "tool; ../run; cat o")
    assert 2 == said.count("tool of a module\n"), said

    said = here.repx("debug-run", jobs["miss"], "-c", "false; echo the shell is open")
    assert "cannot load the modules of this stage (absent/7)" in said
    assert said.startswith("the shell is open\n")


def test_a_machine_without_modules_is_named(empty: Place) -> None:
    empty.write("lab.yaml", json.dumps(MODULES))
    empty.repx("build")
    (script,) = (empty.folder / "result/store").glob("*-use")
    text = script.read_text().replace("/etc/profile.d", "/no").replace("/usr/share", "/no")
    script.chmod(stat.S_IRWXU)
    script.write_text(text)
    for name in ("i", "p"):
        empty.write(name, "{}")

    done = subprocess.run(
        ["bash", script, empty.folder / "out", empty.folder / "i", empty.folder / "p"],
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 3
    assert "has no `module` command" in done.stderr


TABULATE: Final = """\
def tabulate(rows, headers, tablefmt):
    return "\\n".join(" | ".join(row) for row in [headers, *rows, [tablefmt]])
"""


def test_the_example_carries_its_packages(empty: Place) -> None:
    """Every command of examples/software/README.md, with a package of our own for that of PyPI."""
    example = Path(__file__).parents[2] / "examples/software"
    shutil.copytree(
        example,
        empty.folder,
        dirs_exist_ok=True,
        ignore=shutil.ignore_patterns("lab.lock", ".repx"),
    )
    here = dataclasses.replace(empty, store=empty.folder / "store")
    wheel(here.folder.parent / "wheels", "tabulate", "0.9", TABULATE)
    pip = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(here.folder.parent / "wheels")}

    here.repx("build", env=pip)
    here.repx("run")

    tables = here.output("*-table-*/out/table.txt")
    assert ["github", "github", "grid", "grid"] == sorted(text.split()[-1] for text in tables)
    assert all(text.startswith("digit | times\n0 | ") for text in tables)
    assert "nothing changed" in here.repx("build", "--update", env=pip)
