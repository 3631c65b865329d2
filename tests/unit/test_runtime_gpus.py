"""What each runtime is told of GPUs on a node that has them, and on one that has none."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from repx import assets
from repx.runtimes import RUNTIMES
from repx.target import RuntimeName

if TYPE_CHECKING:
    from collections.abc import Mapping

pytestmark = pytest.mark.slow  # bash says the words
DEVICES = {"nvidia": ("nvidia0", "nvidiactl"), "amd": ("kfd", "dri")}
BOUND = "--dev-bind /dev/nvidia0 /dev/nvidia0 --dev-bind /dev/nvidiactl /dev/nvidiactl"
NODE = """
set -u
repx_image=0123 repx_gpus={gpus} repx_node={place} repx_node_local='' repx_host_paths=()
repx_image_root() {{ repx_root={place}/image; }}
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
    env = tmp_path / "image/usr/bin/env"
    env.parent.mkdir(parents=True)
    env.touch()
    return made


def said_of_gpus(
    dev: Path,
    runtime: RuntimeName,
    gpus: str,
    asks: str = NODE,
    around: Mapping[str, str] | None = None,
) -> list[str]:
    """Return the words for GPUs, as a node with this /dev makes them; it reads as /dev again."""
    shell = assets.path("templates/runtime.sh").read_text()
    functions = "".join(RUNTIMES[runtime].functions)
    there = (shell + functions).replace("/dev/nvidia", f"{dev}/nvidia")
    there = there.replace("/dev/kfd", f"{dev}/kfd").replace("/dev/dri", f"{dev}/dri")
    done = subprocess.run(
        ["bash", "-c", there + asks.format(gpus=gpus, runtime=runtime, place=dev.parent)],
        env={"PATH": os.environ["PATH"], **(around or {})},
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


OWN = """
set -u
repx_image=0123 repx_gpus=nvidia repx_node={place} repx_node_local='' repx_host_paths=()
repx_runtime={runtime}
repx_image_root() {{ repx_root={place}/image; }}
repx_root_words() {{ :; }}
repx_load() {{ :; }}
repx_prepare_{runtime} && repx_own_gpus
printf '%s\\n' "${{repx_at_gpus[@]}}" / "${{repx_at_own[@]}}"
"""
FIRST_TWO = (
    "--dev-bind /dev/nvidia0 /dev/nvidia0 --dev-bind /dev/nvidia2 /dev/nvidia2"
    " --dev-bind /dev/nvidiactl /dev/nvidiactl"
)


@pytest.mark.parametrize(
    ("runtime", "around", "words"),
    [
        ("bwrap", "REPX_GPUS=0,2", f"{FIRST_TWO} / --setenv CUDA_VISIBLE_DEVICES 0,1"),
        (
            "charliecloud",
            "REPX_GPUS=2",
            "rw /dev/nvidia2 rw /dev/nvidiactl / --set-env=CUDA_VISIBLE_DEVICES=0",
        ),
        ("docker", "REPX_GPUS=2", '--gpus "device=2" / --env CUDA_VISIBLE_DEVICES=0'),
        (
            "podman",
            "REPX_GPUS=1,2",
            "--device nvidia.com/gpu=1 --device nvidia.com/gpu=2 / --env CUDA_VISIBLE_DEVICES=0,1",
        ),
        ("apptainer", "REPX_GPUS=2", "--nv / --env CUDA_VISIBLE_DEVICES=2"),
        ("docker", "REPX_GPUS=GPU-5f3c", "--gpus all / --env CUDA_VISIBLE_DEVICES=GPU-5f3c"),
        # Slurm counts the devices of a job from 0 where it closes the others.
        (
            "charliecloud",
            "SLURM_JOB_GPUS=2 CUDA_VISIBLE_DEVICES=0",
            "rw /dev/nvidia2 rw /dev/nvidiactl / --set-env=CUDA_VISIBLE_DEVICES=0",
        ),
        # A bundle's job has a part of what Slurm gave.
        (
            "docker",
            "SLURM_JOB_GPUS=1,2 REPX_GPUS=1",
            "--gpus all / --env CUDA_VISIBLE_DEVICES=1",
        ),
        ("docker", "CUDA_VISIBLE_DEVICES=1", "--gpus all /"),
    ],
)
def test_a_job_sees_only_the_gpus_that_it_was_given(
    tmp_path: Path, runtime: str, around: str, words: str
) -> None:
    dev = node(tmp_path, "nvidia0", "nvidia1", "nvidia2", "nvidiactl")
    given = dict(each.split("=") for each in around.split())
    if "REPX_GPUS" in given:
        given["CUDA_VISIBLE_DEVICES"] = given["REPX_GPUS"]

    assert words == " ".join(said_of_gpus(dev, RuntimeName(runtime), "nvidia", OWN, given))


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
