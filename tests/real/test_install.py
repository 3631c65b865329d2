"""repx works however it got here: a wheel, an editable install, a plain checkout.

Each kind lives in a clean virtual environment with the runtime dependencies alone, made by pip
from PyPI in the locked versions, and is called from a folder that is not the checkout.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

import repx

ROOT: Final = Path(__file__).parents[2]
PROJECT: Final = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LOCKED: Final = ROOT / ".ci" / "locked.txt"
SHIPPED: Final = ("nix", "schemas", "templates")
SHIPPED_FILES: Final = ("default.nix", "flake.nix", "targets.example.yaml")
SHIPPED_TWICE: Final = ("repx/lab/expand", "repx_py")  # the Nix library finds them beside itself


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """One installation: its interpreter, and where ``repx`` is imported from."""

    kind: str
    python: Path
    path: Path | None = None

    def run(self, *argv: str | Path, cwd: Path) -> str:
        """Run ``python argv`` and return its stdout; its stderr shows in a failure."""
        environment = {"PATH": "/usr/bin:/bin", "HOME": str(cwd), "LC_ALL": "C.UTF-8"}
        if self.path:
            environment["PYTHONPATH"] = str(self.path)
        done = subprocess.run(
            [self.python, *argv],
            cwd=cwd,
            env=environment,
            text=True,
            check=False,
            capture_output=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def repx(self, *arguments: str | Path, cwd: Path) -> str:
        """Run repx, by its console script where there is one."""
        script = self.python.with_name("repx")
        return self.run(*([script] if script.exists() else ["-m", "repx"]), *arguments, cwd=cwd)


def pip(command: str, *arguments: str | Path, python: Path = Path(sys.executable)) -> None:
    """Run the pip of these tests on another environment, which then needs none of its own."""
    options = ("--python", python, "--disable-pip-version-check", "--quiet")
    locked = ("--constraint", LOCKED, "--build-constraint", LOCKED)
    argv = [sys.executable, "-m", "pip", *options, command, *locked, *arguments]
    subprocess.run(argv, check=True)


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of what a clone holds, so that builds leave nothing in the real one."""
    copy = tmp_path_factory.mktemp("checkout") / "a clone"
    for name in ("repx", "repx_py", *SHIPPED):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", *SHIPPED_FILES):
        shutil.copy(ROOT / name, copy / name)
    return copy


@pytest.fixture(scope="session")
def wheel(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the wheel built from the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--no-deps", "--wheel-dir", folder, checkout)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="session", params=["wheel", "editable", "checkout"])
def installed(
    request: pytest.FixtureRequest,
    checkout: Path,
    wheel: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Installed:
    """Return one of the three kinds of installation."""
    home = tmp_path_factory.mktemp(request.param)
    venv.create(home, with_pip=False, symlinks=True)
    python = home / "bin" / "python"
    wanted = {
        "wheel": (wheel,),
        "editable": ("--editable", checkout),
        "checkout": tuple(PROJECT["dependencies"]),
    }
    pip("install", *wanted[request.param], python=python)
    path = checkout if request.param == "checkout" else None
    return Installed(kind=request.param, python=python, path=path)


def test_wheel_holds_the_packages_and_what_they_ship_and_nothing_else(
    wheel: Path, checkout: Path
) -> None:
    def files(folder: str) -> set[str]:
        found = (checkout / folder).rglob("*")
        return {path.relative_to(checkout).as_posix() for path in found if path.is_file()}

    shipped = {
        f"repx/_data/{name}" for folder in (*SHIPPED, *SHIPPED_TWICE) for name in files(folder)
    }

    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}

    code = files("repx") | files("repx_py")
    assert code | shipped | {f"repx/_data/{name}" for name in SHIPPED_FILES} == held


def test_version_and_help_answer(installed: Installed, tmp_path: Path) -> None:
    assert f"repx {repx.__version__}\n" == installed.repx("--version", cwd=tmp_path)
    assert "Usage: repx" in installed.repx("--help", cwd=tmp_path)


def test_shipped_files_are_found(installed: Installed, checkout: Path, tmp_path: Path) -> None:
    """Each schema and template has the content it has in the checkout."""
    script = "import sys; from repx import assets; print(assets.path(sys.argv[1]).read_text())"
    names = [p for folder in SHIPPED for p in (checkout / folder).rglob("*") if p.is_file()]

    for path in names:
        found = installed.run("-c", script, path.relative_to(checkout), cwd=tmp_path)
        assert path.read_text(encoding="utf-8") + "\n" == found


def test_analysis_imports_without_pandas(installed: Installed, tmp_path: Path) -> None:
    """Only `to_dataframe` needs the extra, so a plain installation can read results."""
    script = (
        "import importlib.util, repx_py; "
        "print(importlib.util.find_spec('pandas'), repx_py.Lab.__name__)"
    )

    assert "None Lab\n" == installed.run("-c", script, cwd=tmp_path)


def test_starter_project_builds_and_runs(installed: Installed, tmp_path: Path) -> None:
    """The first minutes of a new user."""
    installed.repx("init", "project", cwd=tmp_path)
    project = tmp_path / "project"
    installed.repx("build", cwd=project)
    installed.repx("run", cwd=project)

    status = json.loads(installed.repx("status", "--json", cwd=project))

    assert status["jobs"]
    assert {"succeeded"} == {job["state"] for job in status["jobs"].values()}
