"""What a target opens for isolated jobs, in each runtime: this, and nothing else."""

from __future__ import annotations

import contextlib
import dataclasses
import http.server
import os
import shutil
import stat
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import image_labs
from tests.real.runtime_place import RUNTIMES, UNPRIVILEGED, run_as_user

if TYPE_CHECKING:
    from tests.real.place import Place

pytestmark = pytest.mark.needs("images")

LOOK = """
cat {rw}/file {ro}/file >"$out/seen"
echo mine >{rw}/written
if echo x >{ro}/written; then echo "ro is writable" >>"$out/seen"; fi
[ -c {device} ] && echo device >>"$out/seen"
exec 3<>/dev/tcp/{address}
printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3
tail -n 1 <&3 >>"$out/seen"
ls {above} >>"$out/above"
"""


class Hello(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"hello\n")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def address() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hello)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1/{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_paths_devices_and_the_network_open_as_the_target_says(
    isolated: Callable[..., Place], runtime: str, tmp_path: Path, address: str
) -> None:
    folders = {name: tmp_path / "open" / name for name in ("rw", "ro", "closed")}
    for name, folder in folders.items():
        folder.mkdir(parents=True)
        (folder / "file").write_text(f"{name}\n")
    look = LOOK.format(
        rw=folders["rw"],
        ro=folders["ro"],
        above=tmp_path / "open",
        device="/dev/loop-control",
        address=address,
    )
    lab = {
        "stages": {"look": {"outputs": {"seen": "$out/seen"}, "run": look}},
        "pipelines": {"p": ["look"]},
        "runs": {"r": {"pipelines": ["p"]}},
    }
    mounts = [str(folders["rw"]), f"{folders['ro']}:ro", "/dev/loop-control"]
    here = isolated(lab, runtime, mount_paths=mounts, network=True)

    here.repx("run", "--trust")

    (out,) = here.store.glob("outputs/*/out")
    assert "rw\nro\ndevice\nhello\n" == (out / "seen").read_text()
    assert ["ro", "rw"] == sorted((out / "above").read_text().split())
    assert "mine\n" == (folders["rw"] / "written").read_text()
    assert not (folders["ro"] / "written").exists()


@pytest.fixture
def gpu() -> str:
    """Return the path of a device that looks like a GPU's, and is that of /dev/null.

    It stays until the machine starts anew: tests beside this one may have seen it.
    """
    if os.geteuid() != 0:
        pytest.skip("only root can make devices")
    path = Path("/dev/nvidia-of-repx-tests")
    with contextlib.suppress(FileExistsError):
        os.mknod(path, stat.S_IFCHR | 0o666, Path("/dev/null").stat().st_rdev)
    return str(path)


@pytest.mark.parametrize(("gpus", "seen"), [("nvidia", "seen\n"), ("true", "seen\n"), (None, "")])
@pytest.mark.parametrize("runtime", RUNTIMES[:2])
def test_devices_of_gpus_are_there_where_the_target_says(
    isolated: Callable[..., Place], runtime: str, gpu: str, gpus: str | None, seen: str
) -> None:
    facts = "[ -d /sys/class ]"  # as the libraries of GPUs need them
    look = f'if [ -c {gpu} ] && echo x >{gpu} && {facts}; then echo seen; fi >"$out/seen"'
    lab = {
        "stages": {"look": {"outputs": {"seen": "$out/seen"}, "run": look}},
        "pipelines": {"p": ["look"]},
        "runs": {"r": {"pipelines": ["p"]}},
    }
    wanted = {"gpus": gpus == "true" or gpus} if gpus else {}
    here = isolated(lab, runtime, **wanted)

    here.repx("run", "--trust")

    assert [seen] == here.output("*/out/seen")


@pytest.fixture
def data() -> Iterator[Path]:
    """Return a folder of data in one of the folders at the root of this machine."""
    if os.geteuid() != 0:
        pytest.skip("only root can make folders there")
    folder = Path(tempfile.mkdtemp(prefix="repx-tests-", dir="/srv"))
    folder.chmod(0o755)
    (folder / "file").write_text("data\n")
    yield folder
    shutil.rmtree(folder)


WIDE = """
cat {data}/file >"$out/seen"
echo mine >{data}/written
for hidden in /root/.repx-tests {tmp}; do
  if [ -e "$hidden" ]; then echo "sees $hidden" >>"$out/seen"; fi
done
if echo x >/bin/written; then echo "the image is writable" >>"$out/seen"; fi
"""


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_all_folders_for_data_open_where_the_target_says(
    isolated: Callable[..., Place], runtime: str, data: Path, tmp_path: Path
) -> None:
    (tmp_path / "other").touch()
    look = WIDE.format(data=data, tmp=tmp_path / "other")
    lab = {
        "stages": {"look": {"outputs": {"seen": "$out/seen"}, "run": look}},
        "pipelines": {"p": ["look"]},
        "runs": {"r": {"pipelines": ["p"]}},
    }
    here = isolated(lab, runtime, mount_host_paths=True)

    here.repx("run", "--trust")

    assert ["data\n"] == here.output("*/out/seen")
    assert "mine\n" == (data / "written").read_text()


@pytest.mark.parametrize("runtime", UNPRIVILEGED)
def test_a_store_lies_where_the_image_has_no_folder_and_lets_nobody_make_one(
    isolated: Callable[..., Place], runtime: str, data: Path
) -> None:
    lab = {
        "stages": {"say": {"outputs": {"o": "$out/o"}, "run": 'echo "$out" >"$out/o"'}},
        "pipelines": {"p": ["say"]},
        "runs": {"r": {"pipelines": ["p"]}},
    }
    layers = [image_labs.shell_layer(), image_labs.layer({"./": "", "etc/": ""}, mode=0o555)]
    here = isolated(lab, runtime, layers, base_path=str(data / "store"))
    here = dataclasses.replace(here, store=data / "store")

    done = run_as_user(here)

    assert 0 == done.returncode, done.stdout + done.stderr
    (out,) = here.store.glob("outputs/*/out")
    assert [f"{out}\n"] == here.output("*/out/o")


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_program_writes_to_what_is_its_own_and_nowhere_else(
    isolated: Callable[..., Place], runtime: str
) -> None:
    places = "/ /bin /etc /home /mnt /root /run /usr /tmp /var /var/tmp /dev/shm"
    write = f'for place in {places} "$out"; do (echo >$place/new) && echo $place; done >"$out/o"'
    lab = {
        "stages": {"write": {"outputs": {"o": "$out/o"}, "run": f"{write} || :"}},
        "pipelines": {"p": ["write"]},
        "runs": {"r": {"pipelines": ["p"]}},
    }
    here = isolated(lab, runtime, [image_labs.shell_layer(), image_labs.layer({"var/tmp/": ""})])

    here.repx("run", "--trust")

    (out,) = here.store.glob("outputs/*/out")
    thrown_away = " /run /var/tmp" if runtime == "podman" else ""
    own = f"{out} /tmp /dev/shm{thrown_away}".split()
    assert set(own) == set((out / "o").read_text().split())
