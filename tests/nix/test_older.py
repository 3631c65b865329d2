"""A project written for RepX 0.5, with all that its library has: builds unmodified, and runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from tests.nix.machine import Nix

pytestmark = [
    pytest.mark.xdist_group("nix-examples"),
    pytest.mark.real,
    pytest.mark.needs("nix", "bwrap", "shellcheck"),
]

HERE: Final = Path(__file__).parent / "labs"
ALL: Final = "(import ./older/lab.nix { inherit pkgs; repx-lib = repx; })"


@pytest.fixture(scope="module")
def lab(nix: Nix) -> Path:
    return nix.build(f"{ALL}.lab", HERE)


@pytest.fixture(scope="module")
def results(nix: Nix, lab: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of outputs after all runs."""
    folder = tmp_path_factory.mktemp("older")
    (folder / "targets.yaml").write_text(
        "targets: {local: {base_path: s, runtime: native}}\n", encoding="utf-8"
    )
    path = str(lab).removeprefix(os.fspath(nix.store))
    ran = subprocess.run(
        nix.inside(sys.executable, "-m", "repx", "run", "@all", "--lab", path),
        capture_output=True,
        check=False,
        cwd=folder,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    return folder / "s/outputs"


def metadata(lab: Path, name: str) -> dict[str, Any]:
    text = (lab / f"revision/metadata-{name}.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def stage_of(name: str) -> str:
    return name.rpartition("-")[0]


def test_runs_come_in_the_order_of_their_needs(lab: Path) -> None:
    runs = ["prepare-data", "sweep", "extra"]

    assert [f"revision/metadata-{name}.json" for name in runs] == metadata(lab, "top")["runs"]
    hard = {"revision/metadata-prepare-data.json": "hard"}
    assert hard == metadata(lab, "sweep")["dependencies"]
    soft = {"revision/metadata-sweep.json": "soft"}
    assert {**hard, **soft} == metadata(lab, "extra")["dependencies"]


def test_groups_name_runs_as_values_or_by_name(lab: Path) -> None:
    groups = {"all": ["prepare-data", "sweep", "extra"], "work": ["sweep", "extra"]}

    assert groups == metadata(lab, "top")["groups"]


def test_each_combination_is_one_job(lab: Path) -> None:
    sweep = Counter(stage_of(job["name"]) for job in metadata(lab, "sweep")["jobs"].values())
    prepare = Counter(
        stage_of(job["name"]) for job in metadata(lab, "prepare-data")["jobs"].values()
    )

    assert {"prepare": 4} == prepare  # two files and two folders
    # Factors 2 and 3 for `double`, 3 for `triple`: what is the same job is there once.
    assert {"source-loud": 4, "scale": 8, "sum": 8, "squares": 4, "plain": 1} == sweep


def test_a_stage_that_is_there_twice_feeds_each_input_from_the_right_one(lab: Path) -> None:
    """Also where the consumer's name sorts before its producers'."""
    jobs = metadata(lab, "sweep")["jobs"]
    factors: Counter[tuple[int, int]] = Counter()
    for job in jobs.values():
        if stage_of(job["name"]) == "sum":
            inputs = job["executables"]["main"]["inputs"]
            by_name = {
                each["target_input"]: jobs[each["job_id"]] for each in inputs if "job_id" in each
            }
            factors[by_name["left"]["params"]["factor"], by_name["right"]["params"]["factor"]] += 1

    assert {(2, 3): 4, (3, 3): 4} == factors


def test_functions_are_called_for_each_combination(lab: Path) -> None:
    jobs = metadata(lab, "sweep")["jobs"].values()
    sources = [job for job in jobs if stage_of(job["name"]) == "source-loud"]

    found = {
        (job["params"]["n"], job["executables"]["main"]["outputs"]["list"]): job["resource_hints"]
        for job in sources
    }
    one, two = ((n, f"$out/list-{n}.txt") for n in (1, 2))
    assert {one: {"mem": "64M"}, two: {"mem": "1G", "cpus": 1}} == found
    assert {"the default"} == {job["params"]["nothing"] for job in sources}


def test_closures_of_zipped_parameters_are_in_the_image(lab: Path) -> None:
    """Each run has its own image; packages that only a zip names are in it."""
    images = {name: metadata(lab, name)["image"] for name in ("prepare-data", "sweep", "extra")}
    assert len(set(images.values())) == 3

    script = f"for l in {lab}/{images['sweep']}/*/layer.tar; do tar -tf $l; done"
    names = subprocess.run(
        ["bash", "-c", script], capture_output=True, check=True, text=True
    ).stdout
    assert "-hello/bin/hello" in names


def test_each_run_alone_is_a_lab_without_an_image(nix: Nix) -> None:
    alone = nix.build(f"{ALL}.runs.sweep", HERE)

    assert ["metadata-prepare-data.json", "metadata-sweep.json", "metadata-top.json"] == sorted(
        path.name for path in (alone / "revision").glob("metadata-*")
    )
    assert not (alone / "images").exists()


def test_all_of_it_runs(results: Path) -> None:
    def texts(stage: str, name: str) -> list[str]:
        return sorted(path.read_text() for path in results.glob(f"*-{stage}-*/out/{name}"))

    assert {"it's me\na\nf\n", "it's me\nb\nf\n"} == set(texts("prepare", "prepared_data.txt"))
    assert ["Hello, world!\n"] == texts("plain", "ok")
    labels = {json.loads(text) for text in texts("source-loud", "label.json")}
    assert {"two\nlines", "a 'quoted' $value"} == labels
    # 2 * sum + 3 * sum and 3 * sum + 3 * sum, of [1] and [1, 2], for two labels each.
    assert sorted(["5\n", "6\n", "15\n", "18\n"] * 2) == texts("sum", "sum.txt")
    assert sorted(["1 -1\n", "1 -1\n4 -4\n"] * 2) == texts("squares", "pairs.txt")
    assert ["[4,25]"] == [
        text.translate({10: None, 32: None}) for text in texts("count", "counts.json")
    ]
    assert ["2 runs\n"] == texts("report", "report.txt")
