"""Colleagues and one archive: everybody adds, nobody changes or stops what others do."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.real.people import GROUP

if TYPE_CHECKING:
    from tests.real.people import People, Person

pytestmark = pytest.mark.real

ANNE: Final = 60_001
BOB: Final = 60_002
PLANTED: Final = {
    "a name that is taken": "echo no >entries/$job.json",
    "a link to somebody's file": "ln -s /etc/passwd entries/$job.json",
    "a link to nothing": "ln -s /nowhere entries/$job.json",
    "a folder": "mkdir -m 700 entries/$job.json",
    "a pipe": "mkfifo entries/$job.json",
    "a file nobody may read": "echo {} >entries/$job.json; chmod 0 entries/$job.json",
}
ALL: Final = len(PLANTED) + 1
LAB: Final[dict[str, Any]] = {
    "stages": {
        "a": {
            "parameters": {"n": 1},
            "outputs": {"x": "$out/x"},
            "run": 'echo "${parameters[n]}" >"${outputs[x]}"',
        }
    },
    "pipelines": {"p": ["a"]},
    "runs": {"r": {"parameters": {"n": list(range(ALL))}}},
}


class Team:
    """Two people, each with a project whose jobs have run, and an archive of their group."""

    def __init__(self, people: People) -> None:
        """Let Anne run her jobs."""
        shared = people.folder / "shared"
        shared.mkdir()
        os.chown(shared, 0, GROUP)
        shared.chmod(0o2775)
        self.archive = shared / "results"
        self.anne, self.bob = people.person(ANNE, 0o077), people.person(BOB, 0o077)
        self.annes = self.anne.project(LAB, base_path=str(self.anne.home / "store"))
        self.bobs = self.bob.project(LAB, base_path=str(self.bob.home / "store"))
        self.anne.repx("run", cwd=self.annes)

    def push(self, who: Person, *words: str, code: int = 0) -> str:
        where = self.annes if who is self.anne else self.bobs
        return who.repx("push", *words, "--to", self.archive, cwd=where, code=code)

    def pull(self) -> str:
        words = ("pull", "--from", self.archive, "-o", "pulled")
        return self.anne.repx(*words, cwd=self.annes)

    def give_to_root(self) -> None:
        """Let the folders be an administrator's: their owner may remove what is in them."""
        for folder in (self.archive, *self.archive.iterdir()):
            os.chown(folder, 0, GROUP)
            assert folder.stat().st_mode & 0o7777 == 0o3775

    def as_bob(self, script: str) -> None:
        """Let Bob, who is ill-disposed, do something in the archive."""
        process = self.bob.start("bash", "-ec", script, cwd=self.archive)
        said, _ = process.communicate(timeout=60)
        assert process.returncode == 0, said

    def jobs(self) -> list[str]:
        states = json.loads(self.anne.repx("list", "jobs", "--json", cwd=self.annes))
        return sorted(each["id"] for each in states)


@pytest.fixture
def team(people: People) -> Team:
    return Team(people)


def test_who_made_a_result_is_shown_and_cannot_be_changed_by_others(team: Team) -> None:
    team.push(team.anne)
    said = team.bob.repx("run", "--from", team.archive, "-n", cwd=team.bobs)

    assert f"made by user {ANNE}" in said
    for path in (*team.archive.rglob("*.json"), *team.archive.rglob("*.gz")):
        assert (ANNE, GROUP) == (path.stat().st_uid, path.stat().st_gid)
        for words in (
            ("rm", "-f", path),
            ("mv", path, f"{path}2"),
            ("bash", "-c", f"echo >{path}"),
        ):
            process = team.bob.start(*words)
            process.communicate()
            assert process.returncode, words
    team.bob.repx("pull", "--from", team.archive, cwd=team.bobs)
    assert "added 0 jobs" in team.push(team.bob)
    assert "could not be added" in team.push(team.bob, "--force", code=3)
    assert f"{ALL} jobs in" in team.pull()


def test_planted_entries_keep_out_their_jobs_and_are_named(team: Team) -> None:
    last, *jobs = team.jobs()
    team.push(team.anne, last)
    team.give_to_root()
    for job, planted in zip(jobs, PLANTED.values(), strict=True):
        team.as_bob(f"job={job}; {planted}")
    (team.archive / f"entries/{last}.json").unlink()
    said = team.push(team.anne, code=3)

    assert f"1 job in {team.archive}; added 1 job" in said, said
    assert f"warning: job {jobs[0]}: cannot write {team.archive}" in said
    assert f"{len(jobs)} jobs could not be added" in said
    assert "1 job in" in team.pull()


def test_what_bob_may_not_read_or_what_is_forged_stops_no_run(team: Team) -> None:
    first, *_ = team.jobs()
    team.push(team.anne)
    next(team.archive.glob(f"packs/{first}.*")).chmod(0)
    bob = team.bob.project(LAB, base_path=str(team.bob.home / "new"), cache=str(team.archive))
    said = team.bob.repx("run", cwd=bob)

    assert f"fetched {ALL - 1} jobs" in said
    assert "1 job not brought: its results are gone; they run here" in said
    assert "1/1 ok" in said
    assert f"{ALL} succeeded" in team.bob.repx("status", cwd=bob)


def test_half_an_upload_of_a_colleague_stops_nobody(team: Team) -> None:
    job, *_ = team.jobs()
    team.push(team.anne)
    (team.archive / f"entries/{job}.json").unlink()
    team.bob.repx("run", cwd=team.bobs)

    assert "added 1 job" in team.push(team.bob)
    assert f"{ALL} jobs in" in team.pull()


def test_two_push_the_same_at_once(team: Team) -> None:
    team.bob.repx("run", cwd=team.bobs)
    for _ in range(3):
        pushes = [
            who.start("/usr/bin/python3", "-m", "repx", "push", "--to", team.archive, cwd=where)
            for who, where in ((team.anne, team.annes), (team.bob, team.bobs))
        ]
        for push in pushes:
            said, _ = push.communicate(timeout=60)
            assert push.returncode == 0, said
            assert f"{ALL} jobs in" in said
        came = team.pull()
        assert f"{ALL} jobs in" in came
        shutil.rmtree(team.archive)
        shutil.rmtree(team.annes / "pulled")


def test_a_full_disk_is_named_and_nothing_half_counts(team: Team) -> None:
    team.archive.mkdir()
    size = ("mount", "-t", "tmpfs", "-o", "size=64k,mode=3777", "none", team.archive)
    if subprocess.run(size, check=False).returncode:
        pytest.skip("no mounts here")
    try:
        team.push(team.anne)
        shutil.rmtree(team.archive / "entries")
        shutil.rmtree(team.archive / "packs")
        Path(team.archive, "filler").write_bytes(bytes(60 << 10))
        said = team.push(team.anne, code=3)
        assert "No space left on device" in said
        assert [] == list(team.archive.glob("entries/*"))
        Path(team.archive, "filler").unlink()
        assert f"added {ALL} jobs" in team.push(team.anne)
    finally:
        subprocess.run(["umount", team.archive], check=True)
