"""Fifty ways out of a runtime, each tried inside it: none may succeed."""

from __future__ import annotations

import ctypes
import http.server
import os
import secrets
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.real.runtime_place import RUNTIMES, run_as_user

if TYPE_CHECKING:
    from tests.real.place import Place

pytestmark = pytest.mark.needs("images")

# Each line is a name and a command that succeeds where the way is open. $S is the store, $V a
# secret of the user's home, $P a process of the host, $A its address, $H the port of that in hex,
# $M the name of a socket and of shared memory of the host, $K the key of a segment of the latter.
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
records       ls "$S"/outputs/*-make-*/repx/
labs          touch "$S"/labs/x
core-pattern  echo core >/proc/sys/kernel/core_pattern
sysctl-vm     cat /proc/sys/vm/swappiness >/proc/sys/vm/swappiness
host-sys      for f in /sys/kernel/*/* /sys/module/*/parameters/*; do cat $f >$f && break; done
cgroup        echo 0 >/sys/fs/cgroup/cgroup.procs || mkdir /sys/fs/cgroup/x /sys/fs/cgroup/*/x
kernel-memory head -c 1 /proc/kcore
host-environ  head -c 1 /proc/$P/environ
host-memory   head -c 1 /proc/$P/mem || ls /proc/$P/map_files
host-files    ls /proc/$P/fd || ls /proc/$P/cwd/
first-cwd     cat /proc/1/cwd"$V" || ls /proc/1/cwd/"$S"/submissions
first-program (exec 3>>/proc/1/exe)
descriptors   for f in /proc/self/fd/*; do [ -d $f ] && ls $f/../.. && break; done
alien-file    readlink /proc/self/fd/* | grep "^$S" | grep -v "^${out%/out}/"
input-again   (exec 3<"${inputs[table]}" && echo x >>/proc/self/fd/3)
hard-link     ln "${inputs[table]}" "$out"/hard && echo x >>"$out"/hard
namespace     unshare -r -m sh -c "mount -o remount,rw,bind / && echo x >/x"
uncovered     unshare -r -m sh -c "umount -l '$S/artifacts' && echo x >'$S/artifacts/x'"
new-proc      unshare -r -m -p -f sh -c "mount -t proc p /proc && kill -0 $P"
nsenter-user  nsenter -t 1 -U -m cat "$V"
chroot        chroot /proc/1/root cat "$V"
abstract      grep -q "@$M" /proc/net/unix
host-ports    grep -qi ":$H " /proc/net/tcp
shared-memory cat /dev/shm/$M
segments      grep -q "^ *$K " /proc/sysvipc/shm
sockets       ls /run/*.sock || ls /run/*/*.sock || ls /var/run/*.sock || ls /run/dbus/*
"""
TRY = """
cp /bin/busybox "$out/su"
S={store} V={secret} P={pid} A={address} H={port:04X} M={mark} K={key}
while read -r name command; do
  [ -n "$name" ] || continue
  if (eval "$command") >/dev/null 2>"$out/why-$name"; then echo "$name"; fi
done >"$out/escaped" <<'LIST'
{escapes}
LIST
rm -f "$out"/su "$out"/sda "$out"/link "$out"/hard
"""


@pytest.fixture
def address() -> Iterator[str]:
    """Return the address of a server of the host."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


IPC_CREAT, IPC_RMID = 0o1000, 0


@pytest.fixture
def shared() -> Iterator[tuple[str, int]]:
    """Return the name of a socket and of shared memory of the host, and a key of the latter."""
    name, key = f"repx-{secrets.token_hex(8)}", secrets.randbelow(2**30)
    libc = ctypes.CDLL(None)
    segment = libc.shmget(key, 4096, IPC_CREAT | 0o666)
    memory = Path("/dev/shm", name)  # noqa: S108  # what all share
    memory.touch()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"\0{name}")
        listening.listen()
        yield name, key
    memory.unlink()
    libc.shmctl(segment, IPC_RMID, None)


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """Return a file that no job may read, though everybody on the host may."""
    path = tmp_path / "home" / "secret"
    path.parent.mkdir()
    path.write_text("secret\n")
    return path


@pytest.fixture
def tried(
    tmp_path: Path, secret: Path, address: str, shared: tuple[str, int]
) -> Callable[..., dict[str, object]]:
    """Return a maker of Labs with a job that tries ways out."""

    def make(escapes: str = ESCAPES) -> dict[str, object]:
        port, (mark, key) = int(address.split(":")[1]), shared
        names = {"store": tmp_path / "store", "secret": secret, "pid": os.getpid()}
        return lab(
            TRY.format(**names, address=address, port=port, mark=mark, key=key, escapes=escapes)
        )

    return make


def lab(tried: str) -> dict[str, object]:
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
    assert {"out", "repx"} == {beside.name for beside in path.parents[1].iterdir()}
    return path.read_text()


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_no_way_out_is_open_to_root(
    isolated: Callable[..., Place],
    runtime: str,
    secret: Path,
    tried: Callable[..., dict[str, object]],
) -> None:
    here = isolated(tried(), runtime)

    here.repx("run", "--trust", "-j", "1")

    assert "" == escaped(here)
    assert "secret\n" == secret.read_text()
    (table,) = here.store.glob("outputs/*-make-*/out/table.csv")
    assert "1,2\n" == table.read_text()


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_no_way_out_is_open_to_an_ordinary_user(
    isolated: Callable[..., Place], runtime: str, tried: Callable[..., dict[str, object]]
) -> None:
    here = isolated(tried(), runtime)

    done = run_as_user(here)

    assert 0 == done.returncode, done.stderr
    assert "" == escaped(here)


@pytest.mark.needs("bwrap")
@pytest.mark.parametrize("who", ["root", "an ordinary user"])
def test_no_way_out_of_the_nodes_own_root_is_open(
    defined: Callable[..., Place], who: str, tried: Callable[..., dict[str, object]]
) -> None:
    here = defined(tried())
    here.use(runtime="bwrap", rootfs="host")

    if who == "root":
        here.repx("run", "-j", "1")
    else:
        done = run_as_user(here)
        assert 0 == done.returncode, done.stderr

    assert "" == escaped(here)


# Those that do no harm to the machine where they succeed.
HARMLESS = (
    *("network", "sibling", "neighbour", "home", "submissions", "host-pid", "link-out", "parent"),
    *("records", "host-environ", "host-memory", "host-files"),
    *("abstract", "host-ports", "shared-memory", "segments"),
)


def test_ways_are_open_without_a_runtime(
    defined: Callable[..., Place], tried: Callable[..., dict[str, object]]
) -> None:
    """Else the list would prove nothing. Only what harms nobody is tried."""
    lines = [line for line in ESCAPES.splitlines() if line.split(" ")[0] in HARMLESS]
    here = defined(tried("\n".join(lines)))

    here.repx("run", "-j", "1")

    assert set(HARMLESS) == set(escaped(here).split())
