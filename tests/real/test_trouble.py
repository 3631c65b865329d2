"""Jobs, disks and terminals that misbehave: what is said, what is kept, what runs again."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from tests.real.place import Place

Golden = Callable[[str, str], None]
GRACE: Final = {"REPX_GRACE_S": "1"}


def _lab(stages: dict[str, dict[str, Any]], **runs: object) -> dict[str, object]:
    """Return a lab.yaml whose one pipeline holds all stages."""
    return {
        "name": "trouble",
        "stages": stages,
        "pipelines": {"main": list(stages)},
        "runs": runs or {"all": {}},
    }


# --- odd jobs --------------------------------------------------------------------------------

X: Final = {"x": "$out/x"}
SUB: Final = {"x": "$out/a b/c/x"}
LIMIT: Final = {"time": "00:00:01"}
# By stage: how it is declared, what it runs, and why it fails; "" where it succeeds.
ODD: Final[dict[str, tuple[dict[str, Any], str, str]]] = {
    "nothing": ({}, "true", ""),
    "folder": ({"outputs": X}, "mkdir x; : ${outputs[x]}", ""),
    "subfolder": ({"outputs": SUB}, 'mkdir -p "a b/c"; echo 1 >"${outputs[x]}"', ""),
    "subfolder-missing": ({"outputs": SUB}, 'echo 1 >"${outputs[x]}"', "exit 1"),
    "no-output": ({"outputs": X}, ": ${outputs[x]}", "missing output: x (OUT/x)"),
    "dangling": ({"outputs": X}, "ln -s gone ${outputs[x]}", "missing output: x (OUT/x)"),
    "floods": ({}, "head -c 40000000 /dev/zero | tr '\\0' x; head -c 10000000 /dev/zero >&2", ""),
    "daemon": ({}, "sleep 300 & disown", ""),
    "closes": ({}, "exec <&- >&- 2>&-; echo lost || true", ""),
    "reads": ({}, "[[ -z $(cat) ]]", ""),
    "read-only": ({"outputs": SUB}, 'mkdir -p "a b/c"; echo >"${outputs[x]}"; chmod -R a-w .', ""),
    "removes-logs": ({"outputs": X}, "echo 1 >${outputs[x]}; rm -rf ../repx", ""),
    "removes-out": ({"outputs": X}, ": ${outputs[x]}; rm -rf $out", "missing output: x (OUT/x)"),
    "removes-all": ({"outputs": X}, "cd /; rm -rf ${out%/*}; : ${outputs[x]}", "missing"),
    "lies": ({}, "echo >../repx/SUCCESS; exit 1", "exit 1"),
    "kills-itself": ({}, "kill -9 $$", "killed by signal 9"),
    "kills-its-group": ({}, "kill -TERM 0; sleep 9", "killed by signal 15"),
    "busy": ({}, "exit 75", "exit 75"),
    "exits-137": ({}, "exit 137", "killed by signal 9"),
    "stubborn": ({"resources": LIMIT}, "trap '' TERM INT USR1; sleep 300; sleep 300", "timeout"),
    "slow": ({"resources": LIMIT}, "sleep 300", "timeout"),
}


def _outcome(here: Place, stage: str) -> str:
    """Return why the job of a stage failed, "" when it succeeded."""
    (record,) = here.store.glob(f"outputs/*-{stage}-1.0/repx")
    markers = [name for name in ("SUCCESS", "FAIL") if (record / name).exists()]
    assert len(markers) == 1, record
    reason = json.loads((record / markers[0]).read_text())["reason"]
    return str(reason).replace(str(record.parent / "out"), "OUT")


def test_odd_jobs_end_as_they_should(defined: Callable[..., Place]) -> None:
    """And end alike when they run again on top of what they left."""
    stages = {name: {**declared, "run": lines} for name, (declared, lines, _) in ODD.items()}
    here = defined(_lab(stages))
    for _ in range(2):
        here.repx("run", "--keep-going", "--force", "-j", "8", code=1, env=GRACE)
        found = {name: _outcome(here, name) for name in ODD}
        found["removes-all"] = found["removes-all"].split()[0]

        assert found == {name: reason for name, (_, _, reason) in ODD.items()}
    assert here.by_stage() == {
        f"{name}-1.0": "failed" if reason else "succeeded" for name, (*_, reason) in ODD.items()
    }


def test_a_failed_job_is_explained(defined: Callable[..., Place], golden: Golden) -> None:
    fails = {
        "parameters": {"n": 1, "words": "a b"},
        "run": ": ${parameters[n]} ${parameters[words]}; echo working; echo no luck >&2; exit 4",
    }
    reads = {"inputs": ["x"], "run": ": ${inputs[x]}"}
    here = defined(_lab({"fails": {**fails, "outputs": X}, "reads": reads}))
    said = here.session("run -j 1", "status", "status all", "run --failed --dry-run", "status -f")

    golden("trouble/failed-job.txt", said)


def test_retries_are_counted(defined: Callable[..., Place]) -> None:
    lines = "echo try >>$TRIES; [[ $(wc -l <$TRIES) == 3 ]]"
    here = defined(_lab({"flaky": {"run": lines}}))
    here.use(retries=2)
    tries = here.folder / "tries"
    here.repx("run", env={"TRIES": str(tries)})

    assert here.marker("flaky", "SUCCESS")["attempt"] == 3
    assert not list(here.store.glob("outputs/*/repx/FAIL"))
    tries.write_text("try\n" * 9)
    here.repx("run", "--force", code=1, env={"TRIES": str(tries)})
    assert len(tries.read_text().split()) == 12
    assert here.marker("flaky")["attempt"] == 3


def test_who_has_a_job_is_named_while_it_is_waited_for(defined: Callable[..., Place]) -> None:
    here = defined(_lab({"slow": {"run": "until [[ -e ../../end ]]; do sleep 0.1; done"}}))
    here.repx("render", "-o", "scripts")
    (script,) = (here.folder / "scripts/jobs").glob("*.sh")
    by_hand = subprocess.Popen(["bash", script])
    here.wait_until(lambda: list(here.store.glob("outputs/*/repx/stdout.log")))
    process = here.start("run")
    assert process.stderr is not None
    said = next(line for line in process.stderr if line.startswith("wait"))
    (here.store / "outputs/end").touch()
    process.communicate(timeout=60)

    assert "slow-1.0: another process still has it" in said
    assert f"{by_hand.pid} (bash " in said
    assert [0, 0] == [process.returncode, by_hand.wait(timeout=60)]


def test_programs_that_are_gone_or_no_programs(defined: Callable[..., Place]) -> None:
    here = defined(_lab({"gone": {"run": "true"}, "dull": {"run": "exit 0"}}))
    here.repx("render", "-o", "scripts")
    (gone,) = here.store.glob("labs/*/store/*-gone")
    (dull,) = here.store.glob("labs/*/store/*-dull")
    gone.unlink()
    dull.chmod(0o644)
    run = ["bash", "scripts/run.sh", "--keep-going"]
    done = subprocess.run(run, cwd=here.folder, capture_output=True, text=True, check=False)

    assert done.returncode == 1, done.stderr
    assert here.marker("gone")["reason"] == f"script missing: {gone}"
    assert here.marker("dull")["reason"] == f"script not executable: {dull}"
    dull.chmod(0o755)
    here.repx("run")  # brings what is missing
    assert set(here.states().values()) == {"succeeded"}


# --- disks -----------------------------------------------------------------------------------


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Return a file system of its own of 1 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1M", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small file system needs root")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def _fill(folder: Path, free: int) -> None:
    """Fill the disk but for some bytes."""
    (folder / "filler").unlink(missing_ok=True)
    stat = os.statvfs(folder)
    (folder / "filler").write_bytes(bytes(max(stat.f_bavail * stat.f_bsize - free, 0)))


CHAIN: Final = _lab(
    {
        "first": {"outputs": X, "run": "echo whole >${outputs[x]}"},
        "second": {
            "inputs": ["x"],
            "outputs": {"y": "$out/y"},
            "run": "cat ${inputs[x]} >${outputs[y]}",
        },
    }
)


def _either(said: str) -> str:
    """Hide which of two scripts comes first, which their content decides."""
    return said.replace("HASH-second:", "HASH-first:")


def test_a_disk_that_fills_at_any_moment(
    disk: Path, defined: Callable[..., Place], golden: Golden
) -> None:
    here = defined(CHAIN, base="disk/store")
    codes = set()
    for pages in (0, 3, 6, 9, 12, 16, 20, 26, 34):
        shutil.rmtree(here.store, ignore_errors=True)
        _fill(disk, pages * 4096)
        process = here.start("run")
        out, err = process.communicate(timeout=60)
        codes.add(process.returncode)
        assert "Traceback" not in err, out + err
        for marker in here.store.glob("outputs/*/repx/SUCCESS"):
            (output,) = marker.parent.parent.glob("out/?")
            assert output.read_text() == "whole\n"
    assert codes <= {0, 1, 3}
    shutil.rmtree(here.store, ignore_errors=True)
    _fill(disk, 4096)
    said = _either(here.session("run", "status"))
    (disk / "filler").unlink()
    here.repx("run")

    golden("trouble/full-disk.txt", said)
    assert here.output("*-second-1.0/out/y") == ["whole\n"]


def test_a_job_that_fills_the_disk(
    disk: Path, defined: Callable[..., Place], golden: Golden
) -> None:
    greedy = {"outputs": X, "run": "head -c ${BYTES} /dev/zero >${outputs[x]}"}
    here = defined(_lab({"greedy": greedy}), base="disk/store")
    said = here.normal(here.repx("run", code=1, env={"BYTES": "9000000"}))

    assert "no space left on the disk of STORE/outputs" in said
    assert "succeeded" not in here.states().values()
    (disk / "store/outputs").rename(disk / "store/old")
    shutil.rmtree(disk / "store/old")
    here.repx("run", env={"BYTES": "10"})
    golden("trouble/greedy-job.txt", said)


def test_no_success_without_room_for_its_marker(disk: Path, defined: Callable[..., Place]) -> None:
    lines = ": >${outputs[x]}; [[ -z ${FILL-} ]] || cat /dev/zero >fill 2>/dev/null || true"
    here = defined(_lab({"fills": {"outputs": X, "run": lines}}), base="disk/store")
    said = here.repx("run", code=1, env={"FILL": "1"})

    assert "1 of 1 jobs failed" in said
    assert not list(here.store.glob("outputs/*/repx/SUCCESS"))
    assert "the job failed (no space left" in here.repx("log", "all")
    subprocess.run(["mount", "-o", "remount,size=4M", disk], check=True)
    here.repx("run")
    assert set(here.states().values()) == {"succeeded"}


def _without_power() -> tuple[str, ...]:
    """Return the words that make root as weak as others before a folder without write bits."""
    if os.geteuid() != 0:
        return ()
    if shutil.which("setpriv") is None:
        pytest.skip("root writes everywhere, and there is no setpriv")
    powers = "-dac_override,-dac_read_search"
    return ("setpriv", f"--bounding-set={powers}", f"--inh-caps={powers}")


def test_a_store_that_cannot_be_written(defined: Callable[..., Place], golden: Golden) -> None:
    here = dataclasses.replace(defined(CHAIN), before=_without_power())
    here.store.mkdir(mode=0o555)
    said = _either(here.session("run", "status", "render -o scripts"))
    here.store.chmod(0o755)
    here.repx("run")
    for folder in here.store.glob("outputs/*-1.0"):
        folder.chmod(0o555)
        (folder / "repx").chmod(0o555)
    said += here.session("run", "status", "run --force -j 1")
    here.store.chmod(0o000)
    said += here.session("run", "status")
    here.store.chmod(0o755)

    golden("trouble/read-only-store.txt", said)
    assert set(here.states().values()) == {"succeeded"}
