"""What each runtime is told of GPUs on a node that has them, and on one that has none."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from repx import assets
from repx.runtimes import RUNTIMES
from repx.target import RuntimeName

pytestmark = pytest.mark.slow  # bash says the words
DEVICES = {"nvidia": ("nvidia0", "nvidiactl"), "amd": ("kfd", "dri")}
BOUND = "--dev-bind /dev/nvidia0 /dev/nvidia0 --dev-bind /dev/nvidiactl /dev/nvidiactl"
NODE = """
set -u
repx_image=0123 repx_gpus={gpus} repx_node=/n repx_host_paths=()
repx_image_root() {{ repx_root=/n/images/0123; }}
repx_root_words() {{ :; }}
repx_load() {{ :; }}
repx_prepare_{runtime} && printf '%s\\n' "${{repx_at_gpus[@]}}"
"""


def node(tmp_path: Path, *names: str) -> Path:
    """Return the /dev of a node: ordinary files, of which only the names matter."""
    made = tmp_path / "dev"
    made.mkdir()
    for name in ("null", *names):
        (made / name).touch()
    return made


def said_of_gpus(dev: Path, runtime: RuntimeName, gpus: str) -> list[str]:
    """Return the words for GPUs, as a node with this /dev makes them; it reads as /dev again."""
    shell = assets.path("templates/runtime.sh").read_text()
    functions = "".join(RUNTIMES[runtime].functions)
    there = (shell + functions).replace("/dev/nvidia", f"{dev}/nvidia")
    there = there.replace("/dev/kfd", f"{dev}/kfd").replace("/dev/dri", f"{dev}/dri")
    done = subprocess.run(
        ["bash", "-c", there + NODE.format(gpus=gpus, runtime=runtime)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "" == done.stderr
    return done.stdout.replace(str(dev), "/dev").split()


@pytest.mark.parametrize(
    ("runtime", "gpus", "words"),
    [
        ("bwrap", "nvidia", BOUND),
        ("bwrap", "amd", "--dev-bind /dev/kfd /dev/kfd --dev-bind /dev/dri /dev/dri"),
        ("charliecloud", "nvidia", "rw /dev/nvidia0 rw /dev/nvidiactl"),
        ("charliecloud", "amd", "rw /dev/kfd rw /dev/dri"),
        ("apptainer", "nvidia", "--nv"),
        ("apptainer", "amd", "--rocm"),
        ("podman", "nvidia", "--device nvidia.com/gpu=all"),
        ("podman", "amd", "--device /dev/kfd --device /dev/dri"),
        ("docker", "nvidia", "--gpus all"),
        ("docker", "amd", "--device /dev/kfd --device /dev/dri"),
    ],
)
def test_gpus_that_a_node_has_are_opened(
    tmp_path: Path, runtime: str, gpus: str, words: str
) -> None:
    dev = node(tmp_path, *DEVICES["nvidia"], *DEVICES["amd"])
    wanted = words.split()
    if (runtime, gpus) == ("docker", "amd"):
        wanted += ["--group-add", str((dev / "kfd").stat().st_gid)]
    if (runtime, gpus) == ("podman", "amd") and os.geteuid() != 0:
        wanted += ["--group-add", "keep-groups"]

    assert wanted == said_of_gpus(dev, RuntimeName(runtime), gpus)


def test_docker_joins_no_group_that_the_user_is_not_in(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a file to any group")
    dev = node(tmp_path, *DEVICES["amd"])
    for name in DEVICES["amd"]:
        os.chown(dev / name, 0, 54321)

    assert "--group-add" not in said_of_gpus(dev, RuntimeName.DOCKER, "amd")


@pytest.mark.parametrize("runtime", ["bwrap", "charliecloud", "podman", "docker"])
def test_a_node_with_half_of_an_amd_gpu_opens_what_is_there(tmp_path: Path, runtime: str) -> None:
    said = said_of_gpus(node(tmp_path, "dri"), RuntimeName(runtime), "amd")

    assert "/dev/dri" in said
    assert "/dev/kfd" not in said


@pytest.mark.parametrize("runtime", ["bwrap", "charliecloud", "podman", "docker"])
def test_a_node_without_a_gpu_opens_nothing(tmp_path: Path, runtime: str) -> None:
    said = said_of_gpus(node(tmp_path), RuntimeName(runtime), "amd")

    assert not [word for word in said if "/dev" in word]


@pytest.mark.parametrize("runtime", [name for name in RUNTIMES if RUNTIMES[name].isolates])
def test_nothing_is_opened_where_the_target_asks_for_none(
    tmp_path: Path, runtime: RuntimeName
) -> None:
    dev = node(tmp_path, *DEVICES["nvidia"], *DEVICES["amd"])

    assert [] == said_of_gpus(dev, runtime, "''")
