"""Two users, one store: who sees, adds and continues what, whatever their umasks."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.real.people import GROUP

if TYPE_CHECKING:
    from tests.real.people import People

ANNE: Final = 60_001
BOB: Final = 60_002
UMASKS: Final = (0o002, 0o022, 0o077)
PAIRS: Final = ((0o077, 0o077), (0o022, 0o002), (0o002, 0o022), (0o077, 0o002))


def _lab(name: str, value: int = 1) -> dict[str, object]:
    run = f'echo {name} "${{parameters[n]}}" >"${{outputs[x]}}"'
    stage = {"parameters": {"n": value}, "outputs": {"x": "$out/x.txt"}, "run": run}
    return {"name": name, "stages": {name: stage}, "pipelines": {"p": [name]}, "runs": {"r": {}}}


def _store(people: People, mode: int) -> Path:
    """Make the folder that an administrator sets up for a group."""
    store = people.folder / "store"
    store.mkdir()
    os.chown(store, 0, GROUP)
    store.chmod(mode)
    return store


def _profile(store: Path, **more: Any) -> dict[str, Any]:  # noqa: ANN401  # a profile's keys
    return {"base_path": str(store), "input_wait_s": 1, **more}


@pytest.mark.parametrize(("anne", "bob"), PAIRS)
@pytest.mark.parametrize("mode", [0o2770, 0o3770], ids=["setgid", "sticky"])
def test_a_group_shares_a_store_whatever_its_umasks(
    people: People, anne: int, bob: int, mode: int
) -> None:
    store = _store(people, mode)
    one, two = people.person(ANNE, anne), people.person(BOB, bob)
    ours = one.project(_lab("both"), **_profile(store, share="group"))
    theirs = two.project(_lab("both"), **_profile(store, share="group"))

    one.repx("run", cwd=ours)

    assert "1 succeeded" in two.repx("status", cwd=theirs)
    assert "nothing to do" in two.repx("run", cwd=theirs)
    (output,) = store.glob("outputs/*/out/x.txt")
    assert two.start("cat", output).communicate()[0] == "both 1\n"
    more = two.project(_lab("bobs"), **_profile(store, share="group"))
    two.repx("run", cwd=more)
    assert "1 succeeded" in one.repx("status", cwd=ours)


@pytest.mark.parametrize("umask", UMASKS)
def test_share_read_lets_others_look_and_not_touch(people: People, umask: int) -> None:
    store = people.folder / "store"
    one, two = people.person(ANNE, umask), people.person(BOB)
    store.mkdir()
    os.chown(store, ANNE, ANNE)
    ours = one.project(_lab("mine"), **_profile(store, share="read"))
    theirs = two.project(_lab("mine"), **_profile(store, share="read"))

    one.repx("run", cwd=ours)

    assert "1 succeeded" in two.repx("status", cwd=theirs)
    other = two.project(_lab("other"), **_profile(store, share="read"))
    assert "hint: " in two.repx("run", cwd=other, code=3)
    inside = [path for path in store.rglob("*") if not path.is_symlink()]
    modes = {stat.S_IMODE(path.stat().st_mode) for path in inside}
    assert not [mode for mode in modes if mode & 0o022]


def test_share_private_shows_nothing(people: People) -> None:
    store = people.folder / "store"
    one = people.person(ANNE, 0o002)
    store.mkdir()
    os.chown(store, ANNE, ANNE)
    ours = one.project(_lab("mine"), **_profile(store, share="private"))

    one.repx("run", cwd=ours)

    inside = [path for path in store.rglob("*") if not path.is_symlink()]
    assert not [path for path in inside if path.stat().st_mode & 0o077]


def test_what_one_user_keeps_to_themselves_is_passed_over(people: People) -> None:
    """Without `share:` the umasks decide, and nobody is locked out of what is their own."""
    store = _store(people, 0o2777)
    one, two = people.person(ANNE, 0o077), people.person(BOB, 0o002)
    theirs = two.project(_lab("open"), **_profile(store))
    two.repx("run", cwd=theirs)
    ours = one.project(_lab("closed"), **_profile(store))
    one.repx("run", cwd=ours)

    assert "1 succeeded" in two.repx("status", cwd=theirs)
    assert "nothing to do" in two.repx("run", cwd=theirs)


def test_a_hostile_neighbour_cannot_lead_a_run_out_of_the_store(people: People) -> None:
    """Bob plants links where Anne's run is going to write."""
    store = _store(people, 0o2777)
    one, two = people.person(ANNE), people.person(BOB)
    precious = one.home / "precious"
    precious.write_text("mine\n")
    os.chown(precious, ANNE, ANNE)
    ours = one.project(_lab("mine"), **_profile(store))
    for name in ("outputs", "submissions", "artifacts"):
        two.start("mkdir", "-m", "777", store / name).communicate()
    trap = store / "outputs" / "completions.jsonl"
    two.start("ln", "-s", precious, trap).communicate()

    one.start("/usr/bin/python3", "-m", "repx", "run", cwd=ours).communicate(timeout=120)

    assert precious.read_text() == "mine\n"


@pytest.mark.parametrize("place", ["", "repx"])
def test_a_link_for_a_job_s_folder_is_refused(people: People, place: str) -> None:
    """Bob can build the same Lab, so he knows where Anne's run is going to write."""
    store = _store(people, 0o2777)
    one, two = people.person(ANNE), people.person(BOB)
    ours = one.project(_lab("mine"), **_profile(store))
    (job,) = (path.name for path in (ours / "result" / "jobs").iterdir())
    target = one.home / "precious"
    (target / "out").mkdir(parents=True)
    (target / "out" / "kept").write_text("mine\n")
    for path in (target, target / "out", target / "out" / "kept"):
        os.chown(path, ANNE, ANNE)
    trap = store / "outputs" / job / place
    two.start("mkdir", "-p", "-m", "777", trap.parent).communicate()
    two.start("chmod", "-R", "777", store / "outputs").communicate()
    two.start("ln", "-s", target, trap).communicate()
    before = sorted(target.rglob("*"))

    said = one.repx("run", cwd=ours, code=1)
    script = one.start("bash", "-c", f"bash {store}/submissions/*/jobs/*.sh", cwd=ours)
    by_hand, _ = script.communicate(timeout=60)

    assert "a link stands where a folder of the store belongs" in said
    assert (3, True) == (script.returncode, "a link stands" in by_hand)
    assert before == sorted(target.rglob("*"))


LOOKS: Final = (
    *("status", "run", "list jobs", "show job JOB", "show output JOB", "log JOB", "usage"),
    *("pull -o pulled", "push --to ARCHIVE", "pull --from ARCHIVE -o fetched"),
    *("cancel --all", "gc --images", "render -o rendered"),
)
WRITES: Final = ("debug-run JOB -c true", "run --force r")
BY_HAND: Final = ("run.sh", "jobs/JOB.sh")


@pytest.mark.parametrize(
    ("share", "mode", "writes", "looks"),
    [("group", 0o3770, (0,), (0,)), ("read", 0o755, (3,), (0,)), ("private", 0o755, (3,), (0, 3))],
)
def test_every_command_works_for_a_colleague_or_says_why_not(
    people: People, share: str, mode: int, writes: tuple[int, ...], looks: tuple[int, ...]
) -> None:
    store = _store(people, mode)
    if share != "group":
        os.chown(store, ANNE, ANNE)
    archive = people.folder / "archive"
    archive.mkdir()
    os.chown(archive, 0, GROUP)
    archive.chmod(0o3770)
    one, two = people.person(ANNE, 0o077), people.person(BOB, 0o077)
    ours = one.project(_lab("both"), **_profile(store, share=share))
    theirs = two.project(_lab("both"), **_profile(store, share=share))
    (job,) = (path.name for path in (ours / "result" / "jobs").iterdir())
    words = {"JOB": job, "ARCHIVE": str(archive)}
    one.repx("run", cwd=ours)
    one.repx("push", "--to", archive, cwd=ours)
    one.repx("debug-run", job, "-c", "true", cwd=ours)
    (submission,) = store.glob("submissions/*")

    said = {}
    for command in (*LOOKS, *WRITES):
        line = [words.get(word, word) for word in command.split()]
        process = two.start("/usr/bin/python3", "-m", "repx", *line, cwd=theirs)
        said[command] = (process.communicate(timeout=120)[0], process.returncode)
    for name in BY_HAND:
        process = two.start("bash", submission / name.replace("JOB", job), cwd=theirs)
        said[name] = (process.communicate(timeout=60)[0], process.returncode)

    for command, (text, code) in said.items():
        allowed = looks if command in LOOKS else writes
        assert code in allowed or (share == "private" and command in BY_HAND), (command, text)
        assert "Traceback" not in text, (command, text)
        assert code in (0, 127) or "hint: " in text or "ermission denied" in text, (command, text)
    assert "1 succeeded" in one.repx("status", cwd=ours)
