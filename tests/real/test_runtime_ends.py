"""Whatever ends a job that is isolated ends all it started, in each runtime."""

from __future__ import annotations

import contextlib
import gzip
import os
import secrets
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import image_labs
from tests.real.runtime_place import RUNTIMES

if TYPE_CHECKING:
    from tests.real.place import Place

pytestmark = pytest.mark.needs("images")

# Processes that hide: in the background, in a session of their own, twice removed.
LONG = """
trap 'touch "$out/polite"; exit 9' TERM
sleep {mark} & setsid sleep {mark} & (setsid sh -c 'sleep {mark} & sleep {mark}' &)
touch "$out/begun"
for i in $(seq 600); do sleep 0.1; done
"""


def lab(run: str, **stage: object) -> dict[str, object]:
    return {
        "stages": {"long": {"outputs": {"begun": "$out/begun"}, "run": run, **stage}},
        "pipelines": {"p": ["long"]},
        "runs": {"r": {"pipelines": ["p"]}},
    }


def alive(mark: str) -> list[str]:
    """Return the command lines on this machine that hold the mark."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"sleep" in words[0] and mark.encode() in words:
            found.append(b" ".join(words).decode())
    return found


def wait_for(condition: Callable[[], bool], what: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


@pytest.fixture
def mark() -> str:
    return f"9{secrets.randbelow(10**8):08}.5"


def begin(here: Place, mark: str) -> subprocess.Popen[str]:
    process = here.start("run", "--trust")

    def begun() -> bool:
        return bool(list(here.store.glob("outputs/*/out/begun")))

    wait_for(lambda: begun() or process.poll() is not None, "the job does not begin")
    assert process.poll() is None, process.communicate()
    wait_for(lambda: len(alive(mark)) == 4, "the hidden processes do not begin")
    return process


def containers(here: Place, runtime: str) -> list[str]:
    """Return the containers of this store; others on the machine may have some of their own."""
    if runtime not in {"docker", "podman"}:
        return []
    done = subprocess.run(
        [runtime, "ps", "--all", "--quiet", f"--filter=label=repx.store={here.store}"],
        env={**os.environ, **here.env},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


def nothing_left(here: Place, mark: str, runtime: str) -> None:
    wait_for(lambda: not alive(mark), f"left: {alive(mark)}", 30)
    assert [] == containers(here, runtime)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_cancelled_job_may_say_goodbye_and_leaves_nothing(
    isolated: Callable[..., Place], runtime: str, mark: str
) -> None:
    here = isolated(lab(LONG.format(mark=mark)), runtime)
    process = begin(here, mark)

    here.repx("cancel", "--all")

    process.communicate(timeout=60)
    assert "cancelled" == here.marker("long")["reason"]
    assert list(here.store.glob("outputs/*/out/polite"))
    nothing_left(here, mark, runtime)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_time_limit_ends_everything(
    isolated: Callable[..., Place], runtime: str, mark: str
) -> None:
    here = isolated(lab(LONG.format(mark=mark), resources={"time": "4s"}), runtime)
    process = begin(here, mark)

    process.communicate(timeout=90)

    assert "timeout" == here.marker("long")["reason"]
    nothing_left(here, mark, runtime)


def kill_all(here: Place, process: subprocess.Popen[str], *words: str) -> None:
    """Kill all of repx, and of a runtime what has these words in its command line.

    Again, until nothing of that is left: a process may have started another one meanwhile.
    """

    def kill_those_of_now() -> bool:
        found = False
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                line = path.read_bytes()  # empty as soon as it is dead
                ours = str(here.store).encode() in line and b"sleep" not in line[:6]
                if ours and all(word.encode() in line for word in words):
                    found = True
                    os.kill(int(path.parent.name), signal.SIGKILL)
        return found

    process.kill()
    wait_for(lambda: not kill_those_of_now(), "it cannot be killed")
    process.communicate(timeout=60)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_nothing_goes_on_when_all_of_repx_is_killed(
    isolated: Callable[..., Place], runtime: str, mark: str
) -> None:
    """Also of a container: the words of its own first process are not those of its client."""
    here = isolated(lab(LONG.format(mark=mark)), runtime)
    process = begin(here, mark)

    for word in ("start.py", "/jobs/", "--read-only"):  # runner, job file, a container's client
        kill_all(here, process, word)

    wait_for(lambda: not alive(mark), f"left: {alive(mark)}", 30)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_what_outlives_a_killed_script_is_ended_before_the_next_attempt(
    isolated: Callable[..., Place], runtime: str, mark: str
) -> None:
    here = isolated(lab(LONG.format(mark=mark)), runtime)
    process = begin(here, mark)
    kill_all(here, process)

    (out,) = here.store.glob("outputs/*/out")
    (out / "begun").unlink()
    again = begin(here, mark)

    assert 4 == len(alive(mark)), "those of one attempt only"
    assert (runtime in {"docker", "podman"}) == len(containers(here, runtime))
    here.repx("cancel", "--all")
    again.communicate(timeout=60)
    nothing_left(here, mark, runtime)


def killed_elsewhere(here: Place, ends: str) -> Path:
    """Leave what an attempt leaves that another node has begun and not ended."""
    here.repx("run", "--trust")
    (record,) = here.store.glob("outputs/*/repx")
    assert not (record / "container").exists()
    (record / "SUCCESS").unlink()
    (record / "container").write_text(f"node7 repx-1234 {ends}\n")
    return record / "container"


@pytest.mark.parametrize("runtime", RUNTIMES[2:])
def test_the_end_of_a_container_on_another_node_is_waited_for(
    isolated: Callable[..., Place], runtime: str
) -> None:
    here = isolated(lab('touch "$out/begun"'), runtime)
    note = killed_elsewhere(here, "1")

    here.repx("run", "--trust")

    logs = "".join(path.read_text() for path in here.store.glob("submissions/*/agent.log"))
    assert "killed on node7; waiting 1 s until its container has ended" in logs
    assert not note.exists()


@pytest.mark.parametrize("runtime", RUNTIMES[3:])
def test_a_container_on_another_node_that_may_not_end_is_named(
    isolated: Callable[..., Place], runtime: str
) -> None:
    here = isolated(lab('touch "$out/begun"'), runtime)
    note = killed_elsewhere(here, "never")

    said = here.repx("run", "--trust", code=1)

    assert "an attempt before was killed on node7" in said
    assert f"then remove {note}" in said
    note.unlink()
    here.repx("run", "--trust")


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_what_stays_behind_a_program_that_succeeded_is_ended(
    isolated: Callable[..., Place], runtime: str, mark: str
) -> None:
    here = isolated(lab(f'(setsid sleep {mark} &) ; sleep 0.2; touch "$out/begun"'), runtime)

    here.repx("run", "--trust")

    assert ["succeeded"] == list(here.by_stage().values())
    nothing_left(here, mark, runtime)


@pytest.mark.parametrize("runtime", RUNTIMES[2:])
def test_memory_of_a_job_is_limited_and_said(isolated: Callable[..., Place], runtime: str) -> None:
    run = 'touch "$out/begun"; a=$(head -c 300000000 /dev/zero | tr "\\\\0" x); echo ${#a}'
    here = isolated(lab(run, resources={"mem": "64M"}), runtime)

    here.repx("run", "--trust", code=1)

    assert here.marker("long")["reason"] in {"out of memory", "killed by signal 9"}


def test_an_unpacking_that_was_killed_halfway_is_done_anew(
    isolated: Callable[..., Place], tmp_path: Path
) -> None:
    big: dict[str, image_labs.Content] = {
        "data/": "",
        **{f"data/{number}": bytes(100_000) for number in range(200)},
    }
    count = 'ls /data | wc -l >"$out/begun"'
    packed = gzip.compress(image_labs.layer(big))
    here = isolated(lab(count), "bwrap", [image_labs.shell_layer(), packed])
    # tar itself stops in the middle of the big layer; whoever is killed has the store in its words.
    pause, paused = tmp_path / f"{here.store.name}-pause", tmp_path / "paused"
    pause.write_text(f"#!/bin/sh\ntouch {paused}\nexec tail -f /dev/null {here.store}/\n")
    pause.chmod(0o755)
    halfway = f"--checkpoint=800 --checkpoint-action=exec={pause}"
    process = here.start("run", "--trust", TAR_OPTIONS=halfway)
    wait_for(lambda: paused.exists() or process.poll() is not None, "nothing is unpacked")
    assert process.poll() is None, process.communicate()

    kill_all(here, process)

    left = [path.name for path in here.store.glob("cache/images/*") if path.is_dir()]
    assert left, "half an image"
    assert all(".part" in name for name in left), left
    here.repx("run", "--trust")
    assert ["200\n"] == here.output("*/out/begun")
    (image,) = (path for path in here.store.glob("cache/images/*") if path.is_dir())
    assert {100_000} == {path.stat().st_size for path in image.glob("data/*")}
