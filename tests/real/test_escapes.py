"""Twenty ways out of a runtime, each tried inside it: none may succeed."""

from __future__ import annotations

import http.server
import os
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from tests.real.runtime_place import RUNTIMES, UNPRIVILEGED, run_as_user

if TYPE_CHECKING:
    from pathlib import Path

    from tests.real.place import Place

pytestmark = pytest.mark.needs("images")

# Each line is a name and a command that succeeds where the way is open. $S is the store, $V a
# secret of the user's home, $L the lock and $P a process of the host, $A its address.
ESCAPES = """
sibling       grep -q secret "$S"/outputs/*-make-*/out/other.csv
neighbour     ls "$S"/outputs/*-apart-*/out
home          cat "$V"
submissions   ls "$S"/submissions/*
input         echo x >>"${inputs[table]}"
inputs-file   rm -f "${inputs[table]}"
artifacts     touch "$S"/artifacts/x
image-bin     echo x >/bin/x
image-etc     echo x >>/etc/passwd
image-root    mkdir /x
network       exec 3<>"/dev/tcp/${A%:*}/${A#*:}"
raw-network   ping -c 1 -W 1 127.0.0.1 && nc -w 1 ${A%:*} ${A#*:} </dev/null
host-pid      kill -0 $P
host-proc     ls /proc/$P/root
proc-root     ls /proc/1/root"$V"
sysctl        echo 1 >/proc/sys/kernel/sysrq
sysrq         echo h >/proc/sysrq-trigger
device        mknod "$out"/sda b 8 0 && head -c 1 "$out"/sda
host-device   head -c 1 /dev/vda || head -c 1 /dev/kmsg || head -c 1 /dev/mem
mount         mount -t tmpfs none /mnt
remount       mount -o remount,rw,bind / && echo x >/x
unmount       umount "$S"/artifacts
setuid        chmod 4755 "$out"/su && "$out"/su cat "$V"
nsenter       nsenter -t 1 -m cat "$V"
link-out      ln -s "$V" "$out"/link && cat "$out"/link
parent        cat ../../../outputs/*-make-*/out/other.csv
image-home    ls "$S"/cache/images
terminal      echo x >/dev/tty && [ -t 0 ]
"""
TRY = """
cp /bin/busybox "$out/su"
S={store} V={secret} P={pid} A={address}
while read -r name command; do
  [ -n "$name" ] || continue
  if (eval "$command") >/dev/null 2>"$out/why-$name"; then echo "$name"; fi
done >"$out/escaped" <<'LIST'
{escapes}
LIST
rm -f "$out"/su "$out"/sda "$out"/link
"""


@pytest.fixture
def address() -> Iterator[str]:
    """Return the address of a server of the host."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """Return a file that no job may read, though everybody on the host may."""
    path = tmp_path / "home" / "secret"
    path.parent.mkdir()
    path.write_text("secret\n")
    return path


def lab(store: Path, secret: Path, address: str, escapes: str = ESCAPES) -> dict[str, object]:
    tried = TRY.format(
        store=store, secret=secret, pid=os.getpid(), address=address, escapes=escapes
    )
    return {
        "stages": {
            "make": {
                "outputs": {"table": "$out/table.csv", "other": "$out/other.csv"},
                "run": 'echo 1,2 >"$out/table.csv"; echo secret >"$out/other.csv"',
            },
            "apart": {"outputs": {"a": "$out/a"}, "run": 'touch "$out/a"'},
            "use": {
                "inputs": ["table"],
                "outputs": {"escaped": "$out/escaped"},
                "run": tried,
            },
        },
        "pipelines": {"p": {"apart": [], "make": [], "use": ["make"]}},
        "runs": {"r": {"pipelines": ["p"]}},
    }


def escaped(here: Place) -> str:
    (path,) = here.store.glob("outputs/*-use-*/out/escaped")
    return path.read_text()


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_no_way_out_is_open_to_root(
    isolated: Callable[..., Place], runtime: str, tmp_path: Path, secret: Path, address: str
) -> None:
    here = isolated(lab(tmp_path / "store", secret, address), runtime)

    here.repx("run", "--trust", "-j", "1")

    assert "" == escaped(here)
    assert "secret\n" == secret.read_text()
    (table,) = here.store.glob("outputs/*-make-*/out/table.csv")
    assert "1,2\n" == table.read_text()


@pytest.mark.parametrize("runtime", UNPRIVILEGED)
def test_no_way_out_is_open_to_an_ordinary_user(
    isolated: Callable[..., Place], runtime: str, tmp_path: Path, secret: Path, address: str
) -> None:
    here = isolated(lab(tmp_path / "store", secret, address), runtime)

    done = run_as_user(here)

    assert 0 == done.returncode, done.stderr
    assert "" == escaped(here)


# Those that do no harm to the machine where they succeed.
HARMLESS = (
    "network",
    "sibling",
    "neighbour",
    "home",
    "submissions",
    "host-pid",
    "link-out",
    "parent",
)


def test_ways_are_open_without_a_runtime(
    defined: Callable[..., Place], tmp_path: Path, secret: Path, address: str
) -> None:
    """Else the list would prove nothing. Only what harms nobody is tried."""
    lines = [line for line in ESCAPES.splitlines() if line.startswith(HARMLESS)]
    here = defined(lab(tmp_path / "store", secret, address, "\n".join(lines)))

    here.repx("run", "-j", "1")

    assert set(HARMLESS) == set(escaped(here).split())
