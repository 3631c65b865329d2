"""Images that `repx build` gets: of a registry, pinned by digest; packed with zstd; per stage."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from tests.image_labs import IMAGE, layer, set_image, shell_layer, with_image, write_image
from tests.real.runtime_place import RUNTIMES
from tests.registry import Registry, registry

if TYPE_CHECKING:
    from tests.real.place import Place

pytestmark = pytest.mark.needs("images")
STAGE: Final = {"outputs": {"o": "$out/o"}, "run": 'cat /name >"$out/o"'}


@pytest.fixture
def hub() -> Iterator[Registry]:
    with registry() as made:
        yield made


def project(here: Place, image: str, **lab: object) -> Place:
    document = {
        "image": image,
        "stages": {"one": STAGE},
        "pipelines": {"p": ["one"]},
        "runs": {"r": {}},
        **lab,
    }
    here.write("lab.yaml", json.dumps(document))
    here.use(runtime="bwrap")
    return here


def trust(here: Place, hub: Registry) -> dict[str, str]:
    """Return an environment in which skopeo takes the registry without TLS."""
    home = here.folder.parent / "home"
    (home / ".config/containers").mkdir(parents=True)
    (home / ".config/containers/registries.conf").write_text(
        f'[[registry]]\nlocation = "{hub.address}"\ninsecure = true\n'
    )
    (home / ".config/containers/policy.json").write_text(
        '{"default": [{"type": "insecureAcceptAnything"}]}'
    )
    return {"HOME": str(home), "XDG_RUNTIME_DIR": str(home), "no_proxy": "127.0.0.1"}


def pack(image: Path, packed: Path) -> None:
    subprocess.run(["tar", "--zstd", "-chf", packed, "-C", image, "."], check=True)


def jobs(here: Place) -> set[str]:
    return {path.name for path in (here.folder / "result/jobs").iterdir()}


@pytest.mark.needs("skopeo", "bwrap")
def test_an_image_of_a_registry_is_pinned_until_it_is_renewed(empty: Place, hub: Registry) -> None:
    first = hub.push("1", [shell_layer(), layer({"name": "first\n"})])
    here = project(empty, f"docker://{hub.address}/study/tools:1")
    env = trust(here, hub)

    assert first in here.repx("build", env=env)
    before = jobs(here)
    assert {"images": {f"docker://{hub.address}/study/tools:1": first}} == {
        "images": json.loads((here.folder / "lab.lock").read_text())["images"]
    }

    asked = len(hub.asked)
    assert here.repx("build", env={**env, "PATH": "/nowhere"}).startswith("nothing changed")
    assert asked == len(hub.asked), "what is there needs no network"

    second = hub.push("1", [shell_layer(), layer({"name": "second\n"})])
    shutil.rmtree(here.folder / ".repx")
    (here.folder / "result").unlink()
    assert second not in here.repx("build", env=env)
    assert before == jobs(here), "the same image, whatever the tag means now"
    here.repx("run")
    assert ["first\n"] == here.output("*/out/o")

    assert second in here.repx("build", "--update", env=env)
    assert not before & jobs(here)
    here.repx("run")
    assert ["first\n", "second\n"] == here.output("*/out/o")


@pytest.mark.needs("skopeo")
def test_an_image_that_cannot_be_fetched_is_named(empty: Place, hub: Registry) -> None:
    here = project(empty, f"docker://{hub.address}/study/absent:1")

    said = here.repx("build", code=2, env=trust(here, hub))

    assert "lab.yaml:1:" in said
    assert "image: skopeo inspect failed: " in said
    assert "404" in said or "unknown" in said


def test_without_skopeo_the_error_says_how_to_get_it(empty: Place) -> None:
    here = project(empty, "docker://debian:12")

    said = here.repx("build", code=2, env={"PATH": "/nowhere"})

    assert "image: skopeo is not installed" in said


@pytest.mark.needs("bwrap")
def test_each_stage_runs_in_its_own_image(empty: Place) -> None:
    for name in ("lab", "stage"):
        root = empty.folder / name
        for tool in ("bash", "busybox"):
            (root / "bin").mkdir(parents=True, exist_ok=True)
            found = shutil.which("bash-static" if tool == "bash" else tool)
            shutil.copy(str(found), root / "bin" / tool)
        (root / "usr/bin").mkdir(parents=True)
        for link in ("bin/cat", "bin/sh", "bin/mkdir", "usr/bin/env"):
            (root / link).symlink_to("/bin/busybox")
        (root / "name").write_text(f"{name}\n")
    here = project(
        empty,
        "lab",
        stages={"one": STAGE, "two": {**STAGE, "image": "stage"}},
        pipelines={"p": ["one"], "q": ["two"]},
    )
    here.repx("build")

    here.repx("run")

    assert ["lab\n"] == here.output("*-one-*/out/o")
    assert ["stage\n"] == here.output("*-two-*/out/o")


@pytest.mark.needs("bwrap", "zstd")
def test_an_image_packed_with_zstd_is_unpacked_once(empty: Place) -> None:
    write_image(empty.folder, [shell_layer(), layer({"name": "packed\n"})])
    packed = empty.folder / "image.tar.zst"
    pack(empty.folder / IMAGE, packed)
    here = project(empty, packed.name)

    said = here.repx("build", code=2, env={"PATH": "/nowhere"})
    assert "image: it is packed with zstd, which is not installed" in said
    here.repx("build")
    assert here.repx("build", env={"PATH": "/nowhere"}).startswith("nothing changed")
    here.repx("run")
    assert ["packed\n"] == here.output("*/out/o")


@pytest.mark.needs("bwrap", "zstd")
def test_a_lab_of_others_may_hold_an_image_packed_with_zstd(empty: Place, labs: Path) -> None:
    lab = with_image(labs / "sweep", empty.folder / "result", [shell_layer()])
    image = lab / IMAGE
    pack(image, lab / "packed.tar.zst")
    shutil.rmtree(image)
    (lab / "packed.tar.zst").rename(image)
    set_image(lab)
    empty.use(runtime="bwrap")

    said = empty.repx("run", code=2, env={"PATH": f"{Path(sys.executable).parent}"})
    assert "an image packed with zstd, which is not installed here" in said
    temporary = empty.folder.parent / "temporary"
    temporary.mkdir()
    empty.repx("run", env={"TMPDIR": str(temporary)})
    assert [] == [*temporary.glob("*.tar"), *temporary.glob("*.zst")]


@pytest.mark.needs("skopeo")
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_packed_layers_of_a_registry_run_in_every_runtime(
    empty: Place, hub: Registry, client: Callable[[str], dict[str, str]], runtime: str
) -> None:
    """What skopeo fetches has its layers packed with gzip, as registries keep them."""
    hub.push("1", [shell_layer(), layer({"name": "packed\n"})])
    here = project(empty, f"docker://{hub.address}/study/tools:1")
    here.repx("build", env=trust(here, hub))
    (packed, _) = (here.folder / "result/store").glob("*-layer.tar")
    assert packed.read_bytes().startswith(b"\x1f\x8b")
    here.use(runtime=runtime)

    here.repx("run", env=client(runtime))

    assert ["packed\n"] == here.output("*/out/o")
