"""Isolated jobs on Slurm: as elements of arrays, in bundles, scattered and gathered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests import image_labs

if TYPE_CHECKING:
    from tests.real.slurm_place import Place

pytestmark = [pytest.mark.slurm, pytest.mark.needs("images", "bwrap")]

COPY = 'cat "$(input in0)" >o; cat /etc/flavour >>o'
LAYERS = [image_labs.shell_layer(), image_labs.layer({"etc/": "", "etc/flavour": "image\n"})]


def isolated(place: Place, **settings: Any) -> None:  # noqa: ANN401  # settings of any kind
    """Give the place's Lab an image, and its target a runtime."""
    lab = place.write_lab()
    image_labs.write_image(lab, LAYERS)
    image_labs.set_image(lab)
    place.target(runtime="bwrap", **settings)


def test_elements_of_arrays_run_in_the_image(place: Place) -> None:
    first = [place.lab.job("prep", f"echo {i} >o; hostname >>o") for i in range(4)]
    second = [place.lab.job("calc", COPY, needs=[job]) for job in first]
    isolated(place, node_local_path=str(place.folder / "node local"))

    place.run("--trust")

    assert {"succeeded"} == set(place.states().values())
    assert [f"{i}\nrepx\nimage" for i in range(4)] == [place.out(job).strip() for job in second]
    images = place.folder / "node local" / "repx" / "images"
    assert 1 == len([path for path in images.iterdir() if path.is_dir()])


def test_jobs_of_a_bundle_run_in_the_image(place: Place) -> None:
    first = [place.lab.job("prep", f"echo {i} >o; hostname >>o") for i in range(4)]
    second = [place.lab.job("calc", COPY, needs=[job]) for job in first]
    isolated(place, slurm={"bundle": {"name": "short", "stage": "*", "cpus": 2}})

    place.run("--trust")

    assert {"succeeded"} == set(place.states().values())
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

    assert {"succeeded"} == set(place.states().values())
    assert "".join(f"{item}repx\nimage\n" for item in (1, 2, 3)).split() == (place.out(job).split())
