"""Real nix with the project's own package set and a throw-away store."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import bashlex
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

PROJECT: Final = Path(__file__).parents[2]
MINIPKGS: Final = Path(__file__).parent / "minipkgs"
# What the project's own files need; a whole checkout would be copied with its .venv.
SHIPPED: Final = (
    *("default.nix", "flake.nix", "nix", "examples", "repx", "repx_py", "schemas", "templates"),
    *("LICENSE", "README.md", "pyproject.toml", "targets.example.yaml"),
)
# The package set links to the machine's programs, which builds must see.
Done = subprocess.CompletedProcess[str]
CONFIG: Final = """\
build-users-group =
experimental-features = nix-command flakes
sandbox = true
sandbox-paths = /bin /usr /lib /lib64 /etc
substitute = false
warn-dirty = false
"""


@dataclass(frozen=True)
class Nix:
    """One store and one package set; ``project`` is a copy of the project without the rest."""

    store: Path
    packages: Path
    project: Path

    def environment(self) -> dict[str, str]:
        return {**os.environ, "NIX_CONFIG": CONFIG, "HOME": os.fspath(self.store)}

    def call(self, *argv: str, cwd: Path | None = None) -> Done:
        """Run a program of nix on the throw-away store."""
        command = [*argv, "--store", os.fspath(self.store)]
        return subprocess.run(
            command, capture_output=True, check=False, cwd=cwd, env=self.environment(), text=True
        )

    def lab(self, body: str) -> str:
        """Return an expression for ``body``, in which ``repx`` is the library."""
        return (
            f"let pkgs = import {self.packages} {{ }}; "
            f"repx = (import {self.project} {{ inherit pkgs; }}).lib; in {body}"
        )

    def value(self, body: str, cwd: Path | None = None) -> Any:  # noqa: ANN401  # any JSON
        """Evaluate an expression."""
        done = self.call(
            "nix-instantiate", "--eval", "--strict", "--json", "-E", self.lab(body), cwd=cwd
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def mistake(self, body: str, cwd: Path | None = None) -> str:
        """Evaluate an expression that must fail; return our error."""
        done = self.call("nix-instantiate", "--eval", "--strict", "-E", self.lab(body), cwd=cwd)
        assert done.returncode != 0, done.stdout
        lines = map(str.strip, done.stderr.splitlines())  # new versions indent it
        return next((line for line in lines if line.startswith("error: repx: ")), done.stderr)

    def built(self, body: str, cwd: Path | None = None) -> Done:
        """Build an expression; what it prints is told, whether it fails or not."""
        return self.call("nix-build", "--no-out-link", "-E", self.lab(body), cwd=cwd)

    def build(self, body: str, cwd: Path | None = None) -> Path:
        """Build an expression; return the result's place on this machine."""
        done = self.built(body, cwd)
        assert done.returncode == 0, done.stderr
        return self.physical(done.stdout.strip())

    def flake(self, verb: str, target: str, *options: str, cwd: Path | None = None) -> Done:
        """Call a verb of the flake command line, nixpkgs being the project's own set."""
        return self.call(
            "nix",
            *verb.split(),
            target,
            "--no-write-lock-file",
            *("--override-input", "nixpkgs", f"path:{self.packages}"),
            *options,
            cwd=cwd,
        )

    def failed(self, stderr: str) -> str:
        """Return the derivation whose build failed."""
        match = re.search(r"builder for '([^']*)' failed", stderr)
        assert match, stderr
        return match[1]

    def physical(self, path: str) -> Path:
        """Return where a store path lies while it is not mounted."""
        return Path(f"{self.store}{path}")

    def inside(self, *argv: str) -> list[str]:
        """Return a command that sees the throw-away store at /nix."""
        return ["bwrap", "--dev-bind", "/", "/", "--bind", f"{self.store}/nix", "/nix", *argv]


def minipkgs(target: Path, **settings: object) -> Path:
    """Copy the package set with the Python modules that no Debian package has."""
    shutil.copytree(MINIPKGS, target)
    modules = Path(bashlex.__file__).parent
    shutil.copytree(
        modules, target / "python/bashlex", ignore=shutil.ignore_patterns("__pycache__")
    )
    settings = {"python": sys.executable, "sitePackages": os.pathsep.join(sys.path[1:]), **settings}
    (target / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
    return target


@pytest.fixture(scope="session")
def nix(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nix]:
    """Return real nix on a store of its own."""
    home = tmp_path_factory.mktemp("nix")
    project = home / "project"
    project.mkdir()
    (home / "s/nix").mkdir(parents=True)
    for name in SHIPPED:
        source = PROJECT / name
        if source.is_dir():
            ignore = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, project / name, ignore=ignore, symlinks=True)
        else:
            shutil.copy(source, project / name)
    yield Nix(store=home / "s", packages=minipkgs(home / "minipkgs"), project=project)
    subprocess.run(["chmod", "-R", "u+w", os.fspath(home)], check=False)


@pytest.fixture(scope="session")
def copied(nix: Nix) -> Nix:
    """Return the same with packages that are copied with all their libraries."""
    return replace(nix, packages=minipkgs(nix.store.parent / "minipkgs-copied", copy=True))
