"""The command lines that start a program in each runtime, and what the node is told of a room."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Callable
from dataclasses import replace

import pytest

from repx import assets, isolation
from repx.lab.images import Image, Layer
from repx.launch import BRANCH, Launch
from repx.runtimes import RUNTIMES, rooms
from repx.runtimes.contract import Mount, Walls, view
from repx.target import Resources, RootName, RuntimeName, Target

HOSTILE = '/b/it\'s $x, "y"'
LAUNCH = Launch(
    phase="main",
    executable="/b/artifacts/store/abc-fit",
    folder="/b/outputs/3k-fit",
    inputs_file="/b/outputs/3k-fit/repx/inputs.json",
    parameters_file="/b/outputs/3k-fit/repx/parameters.json",
    inputs={"data": "/b/outputs/1a-make/out/data.csv", "odd": HOSTILE},
    outputs={"fit": "/b/outputs/3k-fit/out/fit.csv"},
)
WALLS = Walls(
    base="/b",
    node="/n/repx",
    image="0123abcd",
    tools="/b/artifacts/host-tools/77/bin",
    environment={"OMP_NUM_THREADS": "1", "AT": "@root"},
    secrets=("TOKEN", "KEY"),
    mounts=(
        Mount(path="/data", writable=True),
        Mount(path="/ref"),
        Mount(path="/dev/fuse", writable=True, device=True),
    ),
)
ASKED = Resources(cpus=2, mem_bytes=1 << 30)
IMAGE = Image(
    path="images/0a-image.tar",
    digest="0123abcd",
    config=b"{}",
    layers=(Layer(sha256="f" * 64, size=1, open=lambda: pytest.fail("read")),),
    environment={"PATH": "/opt/bin"},
)


def words_of(name: RuntimeName, launch: Launch = LAUNCH, walls: Walls = WALLS) -> list[str]:
    return list(RUNTIMES[name].run(launch, walls, ASKED))


@pytest.mark.parametrize("name", RUNTIMES)
def test_command_line_is_as_recorded(name: RuntimeName, golden: Callable[[str, str], None]) -> None:
    words = words_of(name)

    golden(f"runtimes/{name}.txt", "".join(f"{word}\n" for word in words))
    assert words_of(name) == words, "a second time the same"


@pytest.mark.parametrize("name", [name for name in RUNTIMES if RUNTIMES[name].isolates])
def test_with_a_network_only_what_hides_it_is_missing(name: RuntimeName) -> None:
    hidden = set(words_of(name)) - set(words_of(name, walls=replace(WALLS, network=True)))

    assert hidden <= {"--unshare-net", "none", "--net", "--network"}


def test_the_table_has_every_name_once_and_each_runtime_its_functions() -> None:
    assert list(RuntimeName) == list(RUNTIMES)
    for name, runtime in RUNTIMES.items():
        for verb in ("try", "prepare"):
            assert f"repx_{verb}_{name}() {{" in "".join(runtime.functions)


def test_native_passes_the_three_paths_of_the_job_contract() -> None:
    assert words_of(RuntimeName.NATIVE) == LAUNCH.words


def test_a_word_that_begins_like_a_placeholder_is_told_apart() -> None:
    words = words_of(RuntimeName.BWRAP)

    assert "@@root" == words[words.index("AT") + 1]
    assert 1 == words.count("@root")


def test_parents_are_mounted_before_what_lies_inside_them() -> None:
    gather = replace(LAUNCH, phase="gather", inputs={"all": "/b"})

    seen = [mount.path for mount in view(gather, WALLS)]

    for place, path in enumerate(seen):
        assert not any(path.startswith(f"{other}/") for other in seen[place + 1 :])
    assert {"/b/outputs/3k-fit", "/b/outputs/3k-fit/out"} <= set(seen)


def test_own_folders_are_writable_and_nothing_else_of_the_store_is() -> None:
    writable = [mount.path for mount in view(LAUNCH, WALLS) if mount.writable]

    assert ["/b/outputs/3k-fit/out", "/b/outputs/3k-fit/repx", "/data", "/dev/fuse"] == writable


def test_a_branch_stands_in_every_path_that_has_one() -> None:
    step = replace(LAUNCH, folder=f"/b/outputs/3k-fit/branch-{BRANCH}/step-x")

    assert f"/b/outputs/3k-fit/branch-{BRANCH}/step-x/out" in words_of(RuntimeName.BWRAP, step)


def room(**fields: object) -> rooms.Room:
    target = Target(name="t", base_path="/b", **fields)  # type: ignore[arg-type]  # a target's own
    image = IMAGE if target.rootfs is RootName.IMAGE else None
    return rooms.make(target, image, tools="77", hide=("/work/me",))


def test_a_room_tells_the_node_all_that_does_not_depend_on_the_job() -> None:
    lines = room(node_local_path="/n", mount_paths=("/data", "/ref/:ro"), gpus="amd").lines

    assert ("/b/artifacts/store/" + "f" * 64 + "-layer.tar", "f" * 64) == lines["repx_layers"]
    assert ("/n/repx", "1") == (lines["repx_node"], lines["repx_node_local"])
    assert ("/b", "/data", "/ref") == lines["repx_mountpoints"]
    assert "amd" == lines["repx_gpus"]
    assert () == lines["repx_hidden"]


def test_without_a_runtime_in_the_profile_jobs_with_an_image_never_run_natively() -> None:
    assert RuntimeName.NATIVE not in room().runtimes
    assert (RuntimeName.NATIVE,) == room(runtimes=(RuntimeName.NATIVE,)).runtimes


def test_the_nodes_own_root_hides_users_the_store_and_the_project() -> None:
    lines = room(rootfs=RootName.HOST, runtimes=(RuntimeName.BWRAP,)).lines

    assert {"/home", "/root", "/b", "/work/me"} <= set(lines["repx_hidden"])
    assert "" == lines["repx_image"]


def test_rooms_differ_in_name_where_they_differ_in_anything() -> None:
    assert room().key == room().key
    assert room().key != room(network=True).key


def test_image_brings_its_variables_and_the_profile_wins() -> None:
    made = room(environment={"A": "1"}).walls.environment

    assert {"PATH": "/opt/bin", "A": "1"} == made


@pytest.mark.slow
@pytest.mark.needs("shellcheck")
def test_functions_for_the_node_have_no_mistake_that_shellcheck_finds() -> None:
    everything = room(runtimes=tuple(RuntimeName))
    files = {file.path: file.text for file in isolation.files([everything])}
    # Each file is checked on its own: what others set or read looks unused there.
    ignored = "SC1091,SC2034,SC2153,SC2154,SC2016"

    done = subprocess.run(
        ["shellcheck", f"--exclude={ignored}", "-"],
        input=files["isolation.sh"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert "" == done.stdout
    assert files["unpack.sh"] == assets.path("templates/unpack.sh").read_text()
    lines = files[f"rooms/{everything.key}.sh"].splitlines()
    assert all(len(shlex.split(line, comments=False)) >= 1 for line in lines)
