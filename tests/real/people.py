"""Ordinary users on one machine: each with an id, a umask and a home of their own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
GROUP: Final = 60_900  # both are members of it
PYTHON: Final = Path("/usr/bin/python3")  # the tests' own may lie in a folder of root's


@dataclass(frozen=True, kw_only=True)
class Person:
    """One user: what they start runs with their ids and umask, and with nobody's environment."""

    uid: int
    umask: int
    home: Path
    packages: Path

    def command(self, *words: str | Path) -> list[str]:
        """Return the words that run a command as this person."""
        ids = (f"--reuid={self.uid}", f"--regid={self.uid}", f"--groups={self.uid},{GROUP}")
        return ["setpriv", *ids, "--bounding-set=-all", "--inh-caps=-all", "--", *map(str, words)]

    def start(self, *words: str | Path, cwd: Path | None = None) -> subprocess.Popen[str]:
        """Start any command in the person's home or another folder."""
        return subprocess.Popen(
            self.command(*words),
            cwd=cwd or self.home,
            umask=self.umask,
            env={
                "HOME": str(self.home),
                "PATH": "/usr/bin:/bin",
                "PYTHONPATH": str(self.packages),
                "PYTHONDONTWRITEBYTECODE": "1",
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def repx(self, *words: str | Path, cwd: Path | None = None, code: int = 0) -> str:
        """Run repx to its end and return all that it says."""
        process = self.start(PYTHON, "-m", "repx", *words, cwd=cwd)
        said, _ = process.communicate(timeout=120)
        assert process.returncode == code, said
        assert "Traceback" not in said, said
        return said

    def project(self, lab: object, **profile: object) -> Path:
        """Make a project of a lab.yaml and one target, as this person would, and build it."""
        folder = self.home / f"project-{len(list(self.home.iterdir()))}"
        folder.mkdir()
        (folder / "lab.yaml").write_text(json.dumps(lab))
        (folder / "targets.yaml").write_text(json.dumps({"targets": {"here": profile}}))
        for path in (folder, *folder.iterdir()):
            os.chown(path, self.uid, self.uid)
        self.repx("build", cwd=folder)
        return folder


@dataclass(frozen=True, kw_only=True)
class People:
    """The users of one test, and a folder that all of them may enter."""

    folder: Path
    packages: Path

    def person(self, uid: int, umask: int = 0o022) -> Person:
        """Return a user with a home of their own."""
        home = self.folder / f"home-{uid}"
        home.mkdir(exist_ok=True)
        os.chown(home, uid, uid)
        return Person(uid=uid, umask=umask, home=home, packages=self.packages)


@pytest.fixture(scope="session")
def everybodys_packages() -> Iterator[Path]:
    """Return a folder with repx and what it needs, that every user may read."""
    if os.geteuid() != 0:
        pytest.skip("only root can become other users")
    folder = Path(tempfile.mkdtemp(prefix="repx-everybody-"))
    yield install(folder)
    shutil.rmtree(folder)


def install(folder: Path) -> Path:
    """Install repx and what it needs below a folder, readable for everybody; return where."""
    version = subprocess.run(
        [PYTHON, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    wheels = folder / "wheels"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", wheels, ROOT], check=True)
    locked = ("-c", ROOT / ".ci" / "locked.txt", "--only-binary=:all:", "--python-version", version)
    packages = folder / "packages"
    subprocess.run(
        [*pip, "install", "--target", packages, *locked, *wheels.glob("*.whl")], check=True
    )
    folder.chmod(0o755)
    subprocess.run(["chmod", "-R", "go+rX", packages], check=True)
    return packages


@pytest.fixture
def people(everybodys_packages: Path) -> Iterator[People]:
    """Return the users of one test."""
    folder = Path(tempfile.mkdtemp(prefix="repx-people-"))
    folder.chmod(0o755)
    yield People(folder=folder, packages=everybodys_packages)
    shutil.rmtree(folder)
