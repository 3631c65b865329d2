"""Labs of `nix build` where there is no Nix: the closure in the image is all that jobs need."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from tests.real.runtime_place import RUNTIMES

if TYPE_CHECKING:
    from tests.nix.machine import Nix

pytestmark = [
    pytest.mark.xdist_group("nix-copied"),
    pytest.mark.real,
    pytest.mark.needs("nix", "shellcheck"),
]

STORED = re.compile(r"/nix/store/([0-9a-z]{32}-[A-Za-z0-9._+-]*[A-Za-z0-9])")


# The store as a job sees it: what lies there, and one checksum of all files.
LISTING: Final = """\
repx.runs2Lab [ {
  name = "r";
  pipelines = [ { look = repx.callStage {
    outputs = { names = "$out/names"; sum = "$out/sum"; };
    run = { outputs, ... }: ''
      ls /nix/store > "${outputs.names}"
      find /nix/store -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum > sums
      sha256sum < sums > "${outputs.sum}"
      if touch /nix/store/x 2> touched; then exit 1; fi
    '';
  } [ ]; } ];
} ]
"""


@pytest.fixture(scope="module")
def listing(copied: Nix) -> Path:
    return copied.build(LISTING)


@pytest.fixture(scope="module")
def lab(copied: Nix) -> Path:
    """Return a Lab whose packages are whole: no file of this machine is needed."""
    here = Path(__file__).parent
    return copied.build("(import ./labs/whole.nix { inherit pkgs repx; }).lab", here)


def test_the_image_has_every_path_that_scripts_name(lab: Path) -> None:
    names: set[str] = set()
    for layer in lab.glob("images/*-sweep-image.tar/*/layer.tar"):
        with tarfile.open(layer) as archive:
            names.update(archive.getnames())
    there = {name.split("/")[2] for name in names if name.count("/") > 1}
    named = {
        found
        for script in lab.glob("jobs/*/bin/*")
        for found in STORED.findall(script.read_text(encoding="utf-8"))
    }

    assert named
    assert named <= there
    assert {"bin/sh", "usr/bin/env", "tmp"} <= names


def test_layers_are_the_same_whoever_writes_them(lab: Path) -> None:
    for layer in lab.glob("store/*-layer.tar"):
        with tarfile.open(layer) as archive:
            for entry in archive:
                assert (entry.mtime, entry.uid, entry.gid, entry.uname) == (1, 0, 0, "")


def paths_of(layer: Path) -> dict[str, str]:
    """Return the files of a layer below /nix/store with their checksums."""
    found = {}
    with tarfile.open(layer) as archive:
        for entry in archive:
            stream = archive.extractfile(entry) if entry.isreg() else None
            if stream is not None and entry.name.startswith("nix/store/"):
                found[f"/{entry.name}"] = hashlib.sha256(stream.read()).hexdigest()
    return found


def test_each_package_is_one_file_of_the_lab(listing: Path, lab: Path) -> None:
    """A package is a layer of its own, so all Labs that have the package have the same file."""
    layers = {path.name: paths_of(path) for path in listing.glob("store/*-layer.tar")}
    packages = [{path.split("/")[3] for path in found} for found in layers.values() if found]

    assert len(packages) > 5
    assert all(len(names) == 1 for names in packages)
    assert sum(len(found) for found in layers.values()) > 5 * len(layers)  # files in folders
    assert len(layers.keys() & {path.name for path in lab.glob("store/*-layer.tar")}) > 5


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_every_runtime_shows_the_same_store(
    listing: Path, tmp_path: Path, client: Callable[[str], dict[str, str]], runtime: str
) -> None:
    files: dict[str, str] = {}
    for layer in listing.glob("store/*-layer.tar"):
        files.update(paths_of(layer))
    lines = "".join(f"{files[path]}  {path}\n" for path in sorted(files))

    ran = run(listing, tmp_path, runtime, client(runtime))

    assert ran.returncode == 0, ran.stderr
    (names,) = tmp_path.glob("s/outputs/*/out/names")
    (total,) = tmp_path.glob("s/outputs/*/out/sum")
    assert sorted({path.split("/")[3] for path in files}) == sorted(names.read_text().split())
    assert f"{hashlib.sha256(lines.encode()).hexdigest()}  -\n" == total.read_text()


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_all_of_it_runs_without_nix(
    lab: Path, tmp_path: Path, client: Callable[[str], dict[str, str]], runtime: str
) -> None:
    script = next(lab.glob("jobs/*/bin/*")).read_text(encoding="utf-8")
    assert not Path(script.partition("\n")[0][2:]).exists()  # its bash is in the image only

    ran = run(lab, tmp_path, runtime, client(runtime), "analysis", "sweep")

    assert ran.returncode == 0, ran.stderr
    texts = sorted(path.read_text() for path in tmp_path.glob("s/outputs/*report*/out/*.txt"))
    assert texts == ["25\nlong\n", "25\nshort\n", "44\nlong\n", "44\nshort\n"]


@pytest.mark.needs("bwrap")
@pytest.mark.parametrize("node", ["without-nix", "with-nix"])
def test_the_root_of_the_node_gets_the_packages_of_the_lab(
    listing: Path, tmp_path: Path, node: str
) -> None:
    """`rootfs: host`: everything of the node, but in /nix/store what the Lab's scripts use."""
    (tmp_path / "store/other-package").mkdir(parents=True)
    room = ("bwrap", "--dev-bind", "/", "/", "--bind", os.fspath(tmp_path), "/nix")

    ran = run(
        listing, tmp_path, "bwrap, rootfs: host", {}, before=room if node == "with-nix" else ()
    )

    assert ran.returncode == 0, ran.stderr
    (names,) = tmp_path.glob("s/outputs/*/out/names")
    packages = {
        path.split("/")[3]
        for layer in listing.glob("store/*-layer.tar")
        for path in paths_of(layer)
    }
    assert packages == set(names.read_text().split())


def test_natively_a_lab_needs_the_store_of_nix(copied: Nix, lab: Path, tmp_path: Path) -> None:
    without = run(lab, tmp_path, "native", {}, "sweep")

    assert without.returncode == 1
    assert re.search(
        r"native: \S+ needs /nix/store/\S+/bin/bash, which only the image \S+ has", without.stderr
    )
    there = str(lab).removeprefix(str(copied.store))
    ran = run(Path(there), tmp_path, "native", {}, "sweep", before=tuple(copied.inside()))
    assert ran.returncode == 0, ran.stderr


def run(
    lab: Path,
    folder: Path,
    runtime: str,
    variables: dict[str, str],
    *runs: str,
    before: tuple[str, ...] = (),
) -> subprocess.CompletedProcess[str]:
    profile = f"targets: {{local: {{base_path: s, runtime: {runtime}}}}}\n"
    (folder / "targets.yaml").write_text(profile, encoding="utf-8")
    return subprocess.run(
        [*before, sys.executable, "-m", "repx", "run", *runs, "--lab", os.fspath(lab)],
        capture_output=True,
        check=False,
        cwd=folder,
        env={**os.environ, **variables},
        text=True,
    )


@pytest.mark.needs("bwrap")
def test_a_stage_reads_a_whole_run_in_isolation(copied: Nix, tmp_path: Path) -> None:
    """The starter's last stage looks for the results of all jobs of another run."""
    starter = copied.project / "templates/init-nix/lab.nix"
    for name in ("summarise.py", "table.py"):
        (starter.parent / name).write_bytes((starter.parent.parent / "init" / name).read_bytes())
    lab = copied.build(f"repx.runs2Lab {{ inherit pkgs; runs = import {starter}; }}")
    (tmp_path / "targets.yaml").write_text("targets: {local: {base_path: s}}\n", encoding="utf-8")

    ran = subprocess.run(
        [sys.executable, "-m", "repx", "run", "throws", "report", "--lab", os.fspath(lab)],
        capture_output=True,
        check=False,
        cwd=tmp_path,
        text=True,
    )

    assert ran.returncode == 0, ran.stderr
    (table,) = tmp_path.glob("s/outputs/*-table-*/out/table.csv")
    assert len(table.read_text().splitlines()) == 19
