"""Isolated jobs on Slurm: as elements of arrays, in bundles, scattered and gathered."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from tests import image_labs
from tests.real import slurm_user
from tests.real.runtime_place import RUNTIMES

if TYPE_CHECKING:
    from tests.real.slurm_place import Place

pytestmark = [pytest.mark.slurm, pytest.mark.needs("images", "bwrap")]

COPY = 'cat "$(input in0)" >o; cat /etc/flavour >>o'
LAYERS = [image_labs.shell_layer(), image_labs.layer({"etc/": "", "etc/flavour": "image\n"})]


def isolated(
    place: Place,
    runtime: str = "bwrap",
    **settings: Any,  # noqa: ANN401  # settings of any kind
) -> None:
    """Give the place's Lab an image, and its target a runtime."""
    lab = place.write_lab()
    image_labs.write_image(lab, LAYERS)
    image_labs.set_image(lab)
    ask = {"defaults": {"mem": "600M"}}  # podman itself takes 100M
    place.target(runtime=runtime, resources=ask, **settings)


def variables(
    place: Place, client: Callable[[str], dict[str, str]], runtime: str
) -> dict[str, str]:
    """Return what a runtime's client needs on a node, where the place's user may read it."""
    given = client(runtime)
    if conf := given.get("CONTAINERS_CONF"):
        shutil.copy(conf, place.folder)
        slurm_user.give(place.folder)
        return {"CONTAINERS_CONF": str(place.folder / "containers.conf"), "HOME": str(place.folder)}
    return given


def failures(place: Place) -> list[str]:
    return [path.read_text() for path in place.store.glob("outputs/*/repx/FAIL")]


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_elements_of_arrays_run_in_the_image(
    place: Place, client: Callable[[str], dict[str, str]], runtime: str
) -> None:
    first = [place.lab.job("prep", f"echo {i} >o; hostname >>o") for i in range(4)]
    second = [place.lab.job("calc", COPY, needs=[job]) for job in first]
    local = place.folder / "node local"
    isolated(
        place, runtime, node_local_path=str(local), environment=variables(place, client, runtime)
    )

    place.run("--trust")

    assert {"succeeded"} == set(place.states().values()), failures(place)
    assert [f"{i}\nrepx\nimage" for i in range(4)] == [place.out(job).strip() for job in second]
    assert {runtime} == {place.marker(job, "SUCCESS")["runtime"] for job in second}
    images = [path for path in (local / "repx/images").iterdir() if path.is_dir()]
    assert (runtime in {"bwrap", "charliecloud"}) == len(images)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_jobs_of_a_bundle_run_in_the_image(
    place: Place, client: Callable[[str], dict[str, str]], runtime: str
) -> None:
    first = [place.lab.job("prep", f"echo {i} >o; hostname >>o") for i in range(4)]
    second = [place.lab.job("calc", COPY, needs=[job]) for job in first]
    bundle = {"bundle": {"name": "short", "stage": "*", "cpus": 2}}
    isolated(place, runtime, slurm=bundle, environment=variables(place, client, runtime))

    place.run("--trust")

    assert {"succeeded"} == set(place.states().values()), failures(place)
    assert [f"{i}\nrepx\nimage" for i in range(4)] == [place.out(job).strip() for job in second]


def test_scattered_jobs_see_their_items_and_gather_sees_every_branch(place: Place) -> None:
    job = place.lab.scattered(
        "split",
        steps={
            "one": ('cat "$(input worker__item)" >o; hostname >>o', (), {}),
            "two": ('cat "$(input in-one)" /etc/flavour >o', ("one",), {}),
        },
        gather='sed -n \'s/.*"o": "\\(.*\\)".*/\\1/p\' "$(input worker__outs)" | '
        'while read -r file; do cat "$file"; done >o',
    )
    isolated(place)

    place.run("--trust")

    assert {"succeeded"} == set(place.states().values()), failures(place)
    assert "".join(f"{item}repx\nimage\n" for item in (1, 2, 3)).split() == (place.out(job).split())
