"""Links and servers that fail: they stall, are cut, freeze, and die in the middle of things."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from repx import places
from repx.places import ssh
from repx.target import Target
from tests.real import sshd as sshds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.real.place import Place
    from tests.real.sshd import Sshd

pytestmark = [pytest.mark.real, pytest.mark.needs("ssh")]

RELAY: Final = Path(__file__).with_name("relay.py")
LAB: Final = {
    "stages": {
        "a": {
            "parameters": {"n": 1},
            "outputs": {"x": "$out/x"},
            "run": 'echo begun >>"$TRACE"; until [[ -e $FINISH ]]; do sleep 0.05; done\n'
            'echo 1 >"${outputs[x]}"',
        },
    },
    "pipelines": {"m": ["a"]},
    "runs": {"r": {"parameters": {"n": [1, 2]}}},
}
BIG: Final = 4 << 20


@pytest.fixture
def here(defined: Callable[..., Place], tmp_path: Path) -> Place:
    made = defined(LAB)
    (made.folder / "link").mkdir()
    (tmp_path / "trace").touch()
    return made


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Sshd]:
    """Return an sshd of the test's own, which it may kill."""
    (tmp_path / "sshd").mkdir()
    made = sshds.start(tmp_path / "sshd")
    yield made
    made.stop()


def use(here: Place, server: Sshd, *options: object, hold: bool = False) -> None:
    """Reach the server over a link with faults; ``hold``: jobs do not end before ``finish``."""
    words = [sys.executable, RELAY, "%h", "%p", *(options or (0,))]
    words.insert(5, here.folder / "link")
    server.configure(f"ProxyCommand {' '.join(map(str, words))}")
    if not hold:
        finish(here)
    names = ("trace", "finish")
    environment = {name.upper(): str(here.folder.parent / name) for name in names}
    here.use(address="far", ssh_config=str(server.config), environment=environment)


def finish(here: Place) -> None:
    (here.folder.parent / "finish").touch()


def begun(here: Place) -> int:
    return len((here.folder.parent / "trace").read_text().splitlines())


def sessions(server: Sshd) -> list[int]:
    """Return the processes of an sshd that serve connections."""
    found = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(server.process.pid)],
        check=False,
        capture_output=True,
        text=True,
    ).stdout
    return [int(word) for word in found.split()]


def kill(pids: list[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def test_a_slow_link_is_only_slow(here: Place, server: Sshd) -> None:
    """25 ms each way; what is asked does not depend on it."""
    use(here, server, 25)
    said = here.repx("run", "-vv")

    assert "2/2 ok" in said
    assert len(re.findall(r"round trip \d+", said)) <= 14


def test_a_link_that_stalls_is_waited_for(here: Place, server: Sshd) -> None:
    use(here, server, hold=True)
    process = here.start("run")
    here.wait_until(lambda: begun(here) == 2)
    (here.folder / "link" / "stalled").touch()
    finish(here)
    time.sleep(4)
    (here.folder / "link" / "stalled").unlink()
    out, err = process.communicate(timeout=60)

    assert 0 == process.returncode, out + err
    assert "2/2 ok" in err
    assert "broke" not in err


def test_ctrl_c_leaves_a_link_that_stalls(here: Place, server: Sshd) -> None:
    """At the third time; the first two arrive when the link is there again."""
    use(here, server, hold=True)
    process = here.start("run")
    here.wait_until(lambda: begun(here) == 2)
    (here.folder / "link" / "stalled").touch()
    for _ in range(3):
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        time.sleep(1)
    _, err = process.communicate(timeout=30)

    assert 130 == process.returncode, err
    assert "Ctrl-C again leaves without waiting" in err
    (here.folder / "link" / "stalled").unlink()
    here.wait_until(lambda: "running" not in here.states().values())
    assert {"failed"} == set(here.states().values())


def test_a_run_is_watched_on_when_the_link_was_cut(here: Place, server: Sshd) -> None:
    use(here, server, hold=True)
    process = here.start("run")
    here.wait_until(lambda: begun(here) == 2)
    (here.folder / "link" / "cut").touch()
    time.sleep(1)
    (here.folder / "link" / "cut").unlink()
    finish(here)
    out, err = process.communicate(timeout=60)

    assert 0 == process.returncode, out + err
    assert "the connection to far broke; connecting again" in err
    assert "2/2 ok" in err
    assert 2 == begun(here)


def test_a_run_outlives_a_server_that_is_killed(here: Place, server: Sshd) -> None:
    """Its sessions and itself; another one at the same port is found."""
    use(here, server, hold=True)
    process = here.start("run")
    here.wait_until(lambda: begun(here) == 2)
    kill([*sessions(server), server.process.pid])
    server.process.wait()
    finish(here)
    again = subprocess.Popen(
        [sshds.SSHD or "", "-D", "-f", server.folder / "sshd_config"], stderr=subprocess.DEVNULL
    )
    try:
        out, err = process.communicate(timeout=60)
        assert 0 == process.returncode, out + err
        assert 2 == begun(here)
        assert {"succeeded"} == set(here.states().values())
    finally:
        again.terminate()
        again.wait()


def test_a_link_that_stays_cut_is_named_and_the_jobs_go_on(here: Place, server: Sshd) -> None:
    use(here, server, hold=True)
    process = here.start("run")
    here.wait_until(lambda: begun(here) == 2)
    (here.folder / "link" / "cut").touch()
    _, err = process.communicate(timeout=90)

    assert 3 == process.returncode
    assert "error: cannot reach far: " in err
    assert f"hint: try: ssh -F {server.config} " in err
    (here.folder / "link" / "cut").unlink()
    watched = here.start("status", "--follow")
    finish(here)
    watched.communicate(timeout=60)
    assert {"succeeded"} == set(here.states().values())
    assert 2 == begun(here)


@pytest.mark.parametrize("how", ["server", "link", "client"])
def test_what_dies_amid_a_transfer_leaves_nothing_half(here: Place, server: Sshd, how: str) -> None:
    """The same command then sends the rest, and runs each job once."""
    lab = json.loads(json.dumps(LAB))
    lab["runs"]["r"]["parameters"]["data"] = "big.bin"
    lab["stages"]["a"]["parameters"]["data"] = ""
    lab["stages"]["a"]["run"] += f'; [[ $(wc -c <"${{parameters[data]}}") == {BIG} ]]'
    (here.folder / "big.bin").write_bytes(os.urandom(BIG))
    here.write("lab.yaml", json.dumps(lab).replace('"big.bin"', '{"files": "big.bin"}'))
    here.repx("build")
    use(here, server, 0)
    server.configure(
        f"ProxyCommand {sys.executable} {RELAY} %h %p 0 {here.folder / 'link'} {BIG // 2}"
    )
    process = here.start("run")
    here.wait_until((here.folder / "link" / "reached").exists)
    victims = {"server": sessions(server), "client": [process.pid], "link": []}
    (here.folder / "link" / "cut").touch() if how == "link" else kill(victims[how])
    _, err = process.communicate(timeout=90)
    (here.folder / "link" / "cut").unlink(missing_ok=True)

    assert process.returncode == (-9 if how == "client" else 3), err
    assert "Traceback" not in err
    assert 0 == begun(here)
    use(here, server)
    assert "2/2 ok" in here.repx("run")
    assert 2 == begun(here)


@pytest.mark.parametrize("how", ["server", "link", "client"])
def test_a_big_file_goes_on_where_the_connection_broke(here: Place, server: Sshd, how: str) -> None:
    size = 24 << 20
    lab = json.loads(json.dumps(LAB))
    lab["stages"]["a"]["parameters"]["data"] = ""
    lab["runs"]["r"]["parameters"]["data"] = {"files": "big.bin"}
    (here.folder / "big.bin").write_bytes(os.urandom(size))
    here.write("lab.yaml", json.dumps(lab))
    here.repx("build")
    use(here, server)
    relay = f"ProxyCommand {sys.executable} {RELAY} %h %p 0 {here.folder / 'link'}"
    server.configure(f"{relay} {16 << 20}")
    process = here.start("run")
    here.wait_until((here.folder / "link" / "reached").exists)
    victims = {"server": sessions(server), "client": [process.pid], "link": []}
    (here.folder / "link" / "cut").touch() if how == "link" else kill(victims[how])
    process.communicate(timeout=90)
    (here.folder / "link" / "cut").unlink(missing_ok=True)
    (here.folder / "link" / "go").touch()
    sum_in_name = f".{'[0-9a-f]' * 64}*.part"
    here.wait_until(lambda: list((here.store / "incoming").glob(sum_in_name)))
    said = here.repx("run", "-vv")

    assert "2/2 ok" in said
    *_, sent = re.findall(r"(\d+) bytes sent", said)
    assert int(sent) < size - (12 << 20)
    assert not list((here.store / "incoming").iterdir())


def test_a_frozen_connection_is_given_up(
    server: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked whether the other end is alive; here every second, not every 15."""
    often = ("-o", "ServerAliveInterval=1", "-o", "ServerAliveCountMax=1")
    monkeypatch.setattr(ssh, "_OPTIONS", often)
    target = Target(name="t", base_path="/", address="far", ssh_config=str(server.config))
    far = places.of(target)
    files = far.files(str(tmp_path))
    files.write_many([("a", 0o644, b"", "")])
    frozen = sessions(server)
    for pid in frozen:
        os.kill(pid, signal.SIGSTOP)
    try:
        assert "a" in files.names("")
    finally:
        far.close()
        kill(frozen)


def test_a_machine_behind_another_is_reached(here: Place, server: Sshd, tmp_path: Path) -> None:
    """The user's own ProxyJump; each machine is logged in to once."""
    (tmp_path / "jump").mkdir()
    jump = sshds.start(tmp_path / "jump")
    try:
        both = server.configure("ProxyJump jump").read_text() + jump.config.read_text().replace(
            "Host far", "Host jump"
        )
        server.config.write_text(both)
        finish(here)
        environment = {"TRACE": "/dev/null", "FINISH": str(tmp_path / "finish")}
        here.use(address="far", ssh_config=str(server.config), environment=environment)
        assert "2/2 ok" in here.repx("run")
        assert (1, 1) == (jump.logins, server.logins)
    finally:
        jump.stop()


def test_a_full_disk_there_is_named_and_the_run_goes_on_later(
    here: Place, server: Sshd, tmp_path: Path
) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root for a small file system")
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96k", "none", small], check=True)
    try:
        use(here, server)
        profile = json.loads((here.folder / "targets.yaml").read_text())
        profile["targets"]["here"]["base_path"] = str(small / "store")
        here.write("targets.yaml", json.dumps(profile))
        said = here.repx("run", code=3)
        assert "No space left on device" in said
        assert not list(small.glob("**/SUCCESS"))
        subprocess.run(["mount", "-o", "remount,size=64m", small], check=True)
        assert "2/2 ok" in here.repx("run")
    finally:
        subprocess.run(["umount", small], check=True)
