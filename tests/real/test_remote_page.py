"""docs/remote.md, command by command and word for word, against a private sshd."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from tests.real import accounts
from tests.real.people import PYTHON
from tests.real.sshd import SSHD

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.real.accounts import Account
    from tests.real.people import People, Person

pytestmark = [pytest.mark.real, pytest.mark.needs("ssh")]

PAGE: Final = (Path(__file__).parents[2] / "docs" / "remote.md").read_text(encoding="utf-8")
MACHINE: Final = "login.example.org"
LAB: Final = {
    "stages": {
        "fit": {
            "parameters": {"lr": 0.1},
            "outputs": {"table": "$out/table.csv"},
            "run": 'echo fitting; echo 1,2 >"${outputs[table]}"',
        }
    },
    "pipelines": {"m": ["fit"]},
    "runs": {"training": {}},
}


def commands(title: str = "") -> list[str]:
    """Return the command lines of a section, or of all others than that of by-hand work."""
    sections = re.split(r"^## ", PAGE, flags=re.MULTILINE)
    by_hand = [each for each in sections if "by-hand" in each]
    chosen = by_hand if title else [each for each in sections if each not in by_hand]
    return re.findall(r"^    ((?:repx|tar|ssh) .*)$", "\n".join(chosen), re.MULTILINE)


@contextlib.contextmanager
def me(people: People, program: str = SSHD or "") -> Iterator[tuple[Person, Account]]:
    """Be the user of the page, whose ssh knows the page's machine: this one."""
    with contextlib.suppress(KeyError):
        if not accounts.is_left_over(pwd.getpwnam("me")):
            pytest.skip("somebody is called `me` here")
        subprocess.run(["userdel", "-f", "me"], check=True)
    with accounts.account("bash", name="me", banner="", program=program) as there:
        person = people.person(there.uid)
        own = there.home / ".ssh"
        own.mkdir()
        for file in ("client", "known_hosts"):
            shutil.copy(there.sshd.folder / file, own / file)
        config = there.sshd.config.read_text().replace("Host far", f"Host {MACHINE}")
        (own / "config").write_text(config.replace(f"{there.sshd.folder}/", f"{own}/"))
        for path in (own, *own.iterdir()):
            path.chmod(0o700 if path.is_dir() else 0o600)
            os.chown(path, there.uid, there.uid)
        yield person, there


def shell(person: Person, line: str, project: Path) -> str:
    """Type a line in a project's folder, `repx` being on PATH."""
    bin_ = project / "bin"
    if not bin_.exists():
        bin_.mkdir()
        (bin_ / "repx").write_text(f'#!/bin/sh\nexec {PYTHON} -m repx "$@"\n')
        (bin_ / "repx").chmod(0o755)
    process = person.start("bash", "-c", f"PATH={bin_}:$PATH\n{line}", cwd=project)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0, f"{line}\n{said}"
    assert "Traceback" not in said
    return said


def test_every_command_of_the_page_works(people: People) -> None:
    (profiles,) = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    with me(people) as (person, there):
        project = person.project(LAB, base_path="/unused")
        (project / "targets.yaml").write_text(profiles)
        done = {}
        for command in commands():
            (job,) = [path.name for path in there.home.glob("repx-store/outputs/*-fit-*")] or [""]
            line = command.replace("3k9x2m", job).replace("/data/shared", f"{person.home}/shared")
            done[command.partition(" #")[0].rstrip()] = shell(person, line, project)

        assert len(done) >= 13
        assert "ms a round trip, as me" in done["repx targets check workstation"]
        assert "jobs can run on 'workstation'" in done["repx targets check workstation"]
        assert "1/1 ok" in done["repx run --target workstation"]
        assert "fitting" in done["repx log training --target workstation"]
        assert "1,2\n" in done["repx show output 3k9x2m table.csv --target workstation"]
        assert "added 1 job" in done["repx push training --to /data/shared/results"]
        assert "connected to me@login.example.org" in done["repx connect workstation"]
        assert "closed the connection" in done["repx connect workstation --close"]


NO_PYTHON: Final = """#!/bin/sh
exec unshare --mount sh -c '
mount --make-rprivate / && mount --bind {there} {here} && mount --bind /dev/null {python} &&
exec {sshd} "$@"' {sshd} "$@"
"""


def test_jobs_run_by_hand_where_there_is_no_python(people: People) -> None:
    """The machine there is this one with another /scratch, and a python3 that is none."""
    scratch, other = people.folder / "scratch", people.folder / "there"
    for folder in (scratch, other):
        folder.mkdir()
        folder.chmod(0o777)
    program = people.folder / "sshd"
    program.write_text(
        NO_PYTHON.format(there=other, here=scratch, python=PYTHON.resolve(), sshd=SSHD)
    )
    program.chmod(0o755)
    with me(people, str(program)) as (person, there):
        project = person.project(LAB, base_path=f"{scratch}/me/store")
        targets = project / "targets.yaml"
        targets.write_text(targets.read_text().replace('"here"', '"by-hand"'))
        subprocess.run(
            ["install", "-d", "-o", str(there.uid), scratch / "me", other / "me"], check=True
        )
        lines = [line.replace("/scratch/me", f"{scratch}/me") for line in commands("by hand")]
        said = [shell(person, line, project) for line in lines]

        assert 5 == len(lines)
        assert "succeeded" in said[-1]
        assert list(other.glob("me/store/outputs/*/repx/SUCCESS"))
        targets.write_text(
            targets.read_text().replace('{"base_path"', f'{{"address": "{MACHINE}", "base_path"')
        )
        refused = person.repx("status", cwd=project, code=3)
        assert f"error: python3 does not start on {MACHINE}" in refused
        assert "docs/remote.md says how to run jobs by hand" in refused
