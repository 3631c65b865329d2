"""Places whose Lab has an image, and what each runtime's client needs to find on this machine."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import image_labs

if TYPE_CHECKING:
    from tests.real.place import Place

RUNTIMES = [
    pytest.param("bwrap", marks=pytest.mark.needs("bwrap")),
    pytest.param("charliecloud", marks=pytest.mark.needs("ch-run")),
    pytest.param("podman", marks=pytest.mark.needs("podman")),
    pytest.param("docker", marks=pytest.mark.needs("docker")),
]
UNPRIVILEGED = RUNTIMES[:3]
USER = 20000
# crun refuses the control groups and limits of some machines; a site says so in this file, too.
CONTAINERS = """
[engine]
runtime = "runc"
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
"""
DAEMON = ("--iptables=false", "--ip6tables=false", "--bridge=none", "--storage-driver=vfs")


@pytest.fixture(scope="session")
def docker_host() -> Iterator[str]:
    """Return the address of a docker daemon of the tests' own, to which any user may talk."""
    folder = Path(tempfile.mkdtemp(prefix="repx-docker-"))
    folder.chmod(0o711)
    host = f"unix://{folder}/sock"
    env = {**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}
    with (folder / "log").open("w") as log:
        places = {"data-root": "data", "exec-root": "exec", "pidfile": "pid"}
        own = [f"--{name}={folder}/{place}" for name, place in places.items()]
        words = ["dockerd", *DAEMON, *own, f"--host={host}"]
        daemon = subprocess.Popen(words, cwd=folder, env=env, stdout=log, stderr=log)
    deadline = time.monotonic() + 60
    try:
        while subprocess.run(
            ["docker", f"--host={host}", "info"], capture_output=True, check=False
        ).returncode:
            assert daemon.poll() is None, (folder / "log").read_text()[-2000:]
            assert time.monotonic() < deadline, "dockerd does not answer"
            time.sleep(0.2)
        (folder / "sock").chmod(0o666)
        yield host
    finally:
        daemon.terminate()
        daemon.wait(60)
        # The daemon mounts its folder upon itself, and may leave that.
        subprocess.run(["umount", "-l", folder / "data"], capture_output=True, check=False)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def client(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], dict[str, str]]:
    """Return a function from a runtime's name to the variables its client needs here."""

    def variables(runtime: str) -> dict[str, str]:
        if runtime == "docker":
            return {"DOCKER_HOST": request.getfixturevalue("docker_host")}
        if runtime == "podman":
            (tmp_path / "containers.conf").write_text(CONTAINERS)
            return {"CONTAINERS_CONF": str(tmp_path / "containers.conf")}
        return {}

    return variables


@pytest.fixture
def isolated(
    defined: Callable[..., Place], client: Callable[[str], dict[str, str]]
) -> Callable[..., Place]:
    """Return a maker of places whose Lab has an image: a definition, a runtime, its profile."""

    def make(
        lab: dict[str, object],
        runtime: str,
        layers: Iterable[bytes] | None = None,
        **profile: object,
    ) -> Place:
        here = defined(lab)
        built = here.folder / "with-image"
        image_labs.with_image(here.folder / "result", built, layers or [image_labs.shell_layer()])
        (here.folder / "result").unlink()
        built.rename(here.folder / "result")
        here.use(runtime=runtime, **profile)
        return dataclasses.replace(here, env={**here.env, **client(runtime)})

    return make


def run_as_user(here: Place) -> subprocess.CompletedProcess[str]:
    """Render the Lab's jobs and run their scripts one by one, as an ordinary user would by hand.

    Whose python3 repx runs with may be out of that user's reach, so only bash is needed.
    """
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("needs root and setpriv to become an ordinary user")
    folder = here.folder.parent / "by-hand"
    here.repx("render", "--output", str(folder))
    plan = json.loads((folder / "plan.json").read_text())
    for above in folder.parents:
        if above.stat().st_uid == 0 and not above.stat().st_mode & 0o001:
            above.chmod(above.stat().st_mode | 0o011)
    here.store.mkdir(exist_ok=True)
    subprocess.run(["chown", "-R", f"{USER}:{USER}", folder, here.store], check=True)
    jobs = " && ".join(f"bash {folder}/jobs/{task['job']}.sh" for task in plan["tasks"])
    become = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"]
    variables = {"HOME": str(folder), "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin"}
    if podman := {name: here.env[name] for name in here.env if name == "CONTAINERS_CONF"}:
        give_subordinate_ids()
        (folder / "run").mkdir()
        os.chown(folder / "run", USER, USER)
        variables |= {**podman, "XDG_RUNTIME_DIR": str(folder / "run")}
    else:  # podman has helpers that are setuid
        become += ["--no-new-privs"]
        variables |= {name: here.env[name] for name in here.env if name == "DOCKER_HOST"}
    return subprocess.run(
        [*become, "bash", "-c", f"umask 077; {jobs}"],
        cwd=folder,
        env=variables,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def give_subordinate_ids() -> None:
    """Do what podman's `ask` says, once on a machine: the user exists, with ids of its own."""
    name, ids = "repx-tests", "300000-365535"
    for file, words in (
        ("/etc/passwd", ("useradd", "--uid", str(USER), "--no-create-home")),
        ("/etc/subuid", ("usermod", "--add-subuids", ids, "--add-subgids", ids)),
    ):
        if not any(line.startswith(f"{name}:") for line in Path(file).read_text().splitlines()):
            subprocess.run([*words, name], check=True)
