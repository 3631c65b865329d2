"""Images: read from a Lab in each form there is, put into a Lab by a build, sent by layer."""

from __future__ import annotations

import gc
import gzip
import hashlib
import io
import json
import os
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from repx import images as sync
from repx.errors import LabError, ProblemsError
from repx.lab import build, images, load
from repx.lab.files import FolderFiles
from tests.image_labs import layer, write_image

if TYPE_CHECKING:
    from repx.lab.files import LabFiles
    from repx.lab.images import Image

LAYERS = [layer({"a": "1"}), layer({"b": "2"})]
SUMS = [hashlib.sha256(each).hexdigest() for each in LAYERS]


def exploded(lab: Path) -> str:
    write_image(lab, LAYERS, ["PATH=/opt/bin", "EMPTY="], path="images/x")
    return "images/x"


def archive(lab: Path, pack: Callable[[bytes], bytes] = bytes) -> str:
    exploded(lab)
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", dereference=True) as tar:
        tar.add(lab / "images/x", ".")
    (lab / "images/x.tar").write_bytes(pack(made.getvalue()))
    return "images/x.tar"


def packed(lab: Path) -> str:
    return archive(lab, gzip.compress)


def layout(lab: Path) -> str:
    exploded(lab)
    (config,) = (lab / "images/x").glob("*[0-9a-f].json")
    blobs = lab / "images/oci/blobs/sha256"
    blobs.mkdir(parents=True)

    def blob(content: bytes) -> dict[str, object]:
        digest = hashlib.sha256(content).hexdigest()
        (blobs / digest).write_bytes(content)
        return {"digest": f"sha256:{digest}", "size": len(content)}

    manifest = {"config": blob(config.read_bytes()), "layers": [blob(each) for each in LAYERS]}
    index = {"schemaVersion": 2, "manifests": [blob(json.dumps(manifest).encode())]}
    (lab / "images/oci/index.json").write_text(json.dumps(index))
    return "images/oci"


@pytest.mark.parametrize("form", [exploded, archive, packed, layout])
def test_every_form_is_the_same_image(form: Callable[[Path], str], tmp_path: Path) -> None:
    image = images.read(FolderFiles(tmp_path), form(tmp_path))

    assert SUMS == [each.sha256 for each in image.layers]
    for each, content in zip(image.layers, LAYERS, strict=True):
        assert len(content) == each.size
        with each.open() as stream:
            assert content == stream.read()
    assert {"PATH": "/opt/bin", "EMPTY": ""} == image.environment
    other = tmp_path / "other"
    other.mkdir()
    assert image.digest == images.read(FolderFiles(other), exploded(other)).digest


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({}, "neither a docker archive nor an OCI layout"),
        ({"manifest.json": "[]"}, "a broken image"),
        ({"manifest.json": "{"}, "a broken image"),
        ({"manifest.json": '[{"Config": "c", "Layers": []}]', "c": "{}"}, "a broken image"),
        ({"manifest.json": '[{"Config": "../../x", "Layers": []}]'}, "leads out of the Lab"),
        ({"index.json": '{"manifests": [{"digest": "sha256:../x"}]}'}, "is not a sha256"),
        ({"index.json": '{"manifests": []}'}, "a broken image"),
        ({"manifest.json": "[]"}, "lists no image"),
        ({"manifest.json": '{"Config": "c"}'}, "lists no image"),
        ({"manifest.json": '[{"Config": "c", "Layers": null}]', "c": '{"rootfs": 3}'}, "a broken"),
        ({"manifest.json": '[{"Config": "c", "Layers": []}]', "c": "[1]"}, "a broken image"),
        ({"manifest.json": '[{"Config": "c\\u0000", "Layers": []}]'}, "embedded null byte"),
        *(
            (
                {
                    "manifest.json": '[{"Config": "c", "Layers": []}]',
                    "c": '{"rootfs": {"diff_ids": []}, "config": ' + config + "}",
                },
                "a broken image",
            )
            for config in (
                "[1]",
                '{"Env": [1]}',
                '{"Env": ["A=\\u0000"]}',
                '{"Env": ["\\ud800=1"]}',
            )
        ),
    ],
)
def test_a_broken_image_is_named(files: dict[str, str], why: str, tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    for name, text in files.items():
        (tmp_path / "x" / name).write_text(text)

    with pytest.raises(LabError, match=why):
        images.read(FolderFiles(tmp_path), "x")


def index_of(folder: Path, *described: dict[str, object]) -> None:
    """Write the index of an OCI layout."""
    (folder / "index.json").write_text(json.dumps({"manifests": described}))


def listed(lab: Path) -> dict[str, object]:
    """Write an OCI layout; return what its index says of its image."""
    layout(lab)
    index: dict[str, list[dict[str, object]]] = json.loads(
        (lab / "images/oci/index.json").read_text()
    )
    return index["manifests"][0]


def test_of_several_platforms_that_of_this_machine_is_taken(tmp_path: Path) -> None:
    image = listed(tmp_path)
    other = {"digest": f"sha256:{'0' * 64}", "platform": {"os": "linux", "architecture": "vax"}}
    proof = {**other, "platform": {"os": "unknown", "architecture": "unknown"}}
    mine = {**image, "platform": {"os": "linux", "architecture": images.machine()}}

    single = {**image, "platform": other["platform"]}
    for each in ((other, mine, proof), (single, proof)):
        index_of(tmp_path / "images/oci", *each)
        found = images.read(FolderFiles(tmp_path), "images/oci")
        assert SUMS == [layer.sha256 for layer in found.layers]


def test_several_images_are_not_guessed_at(tmp_path: Path) -> None:
    image = listed(tmp_path)
    named = {"org.opencontainers.image.ref.name": "old"}
    index_of(tmp_path / "images/oci", image, {"digest": f"sha256:{'0' * 64}", "annotations": named})
    with pytest.raises(LabError, match=r"several images \(sha256:[0-9a-f]+ for linux/\w+, old for"):
        images.read(FolderFiles(tmp_path), "images/oci")

    manifest = tmp_path / "images/x/manifest.json"
    (entry,) = json.loads(manifest.read_text())
    tags = {"RepoTags": ["host:5000/A/b:1", "b:2"]}
    manifest.write_text(json.dumps([{**entry, **tags}, entry]))
    assert len(images.read(FolderFiles(tmp_path), "images/x").layers) == len(LAYERS)
    manifest.write_text(json.dumps([{**entry, **tags}, {**entry, "Layers": []}]))
    with pytest.raises(LabError, match=r"several images \(host:5000/A/b:1, b:2, \?\): save the"):
        images.read(FolderFiles(tmp_path), "images/x")


def test_a_changed_manifest_and_an_index_of_itself_are_refused(tmp_path: Path) -> None:
    image = listed(tmp_path)
    blob = tmp_path / "images/oci/blobs/sha256" / str(image["digest"]).removeprefix("sha256:")
    blob.write_text(blob.read_text() + " ")
    with pytest.raises(LabError, match="is not what its digest says"):
        images.read(FolderFiles(tmp_path), "images/oci")
    blob.write_text(json.dumps({"manifests": [image]}))
    with pytest.raises(LabError, match="is not what its digest says"):
        images.read(FolderFiles(tmp_path), "images/oci")


def test_an_archive_of_old_docker_whose_layers_are_links(tmp_path: Path) -> None:
    """It keeps a layer once, with `VERSION` and `json` beside, and links where it comes again."""
    exploded(tmp_path)
    (entry,) = json.loads((tmp_path / "images/x/manifest.json").read_text())
    old = tmp_path / "old"
    for number, content in enumerate(LAYERS):
        (old / f"id{number}").mkdir(parents=True)
        (old / f"id{number}/layer.tar").write_bytes(content)
        (old / f"id{number}/VERSION").write_text("1.0")
    (old / "id2").mkdir()
    (old / "id2/layer.tar").symlink_to("../id0/layer.tar")
    config = json.loads((tmp_path / "images/x" / entry["Config"]).read_text())
    config["rootfs"]["diff_ids"].append(f"sha256:{SUMS[0]}")
    (old / "c.json").write_text(json.dumps(config))
    names = [f"id{number}/layer.tar" for number in range(3)]
    (old / "manifest.json").write_text(
        json.dumps([{"Config": "c.json", "RepoTags": None, "Layers": names}])
    )
    (old / "repositories").write_text("{}")
    with tarfile.open(tmp_path / "old.tar", "w") as tar:
        tar.add(old, ".")

    for path in ("old", "old.tar"):
        image = images.read(FolderFiles(tmp_path), path)
        assert [*SUMS, SUMS[0]] == [each.sha256 for each in image.layers]
        with image.layers[2].open() as stream:
            assert LAYERS[0] == stream.read()


def test_an_archive_that_is_packed_is_unpacked_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    packed(tmp_path)

    image = images.read(FolderFiles(tmp_path), "images/x.tar")

    (tmp_path / "images/x.tar").unlink()
    with image.layers[1].open() as stream:
        assert LAYERS[1] == stream.read()
    assert [*temporary.iterdir()]
    del image
    gc.collect()
    assert not [*temporary.iterdir()]


def test_a_sif_is_named(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"#!/usr/bin/env run-singularity\n\0SIF_MAGIC\x00rest")

    with pytest.raises(LabError, match="a SIF image, which only apptainer reads"):
        images.read(FolderFiles(tmp_path), "x")


def test_a_file_that_is_no_image_is_named(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("no tar")

    with pytest.raises(LabError, match="not a tar"):
        images.read(FolderFiles(tmp_path), "x")


def test_only_layers_that_are_missing_or_cut_off_are_sent(tmp_path: Path) -> None:
    image = images.read(FolderFiles(tmp_path), exploded(tmp_path))
    first, second = image.layers
    whole = {sync.layer_key(first): first.size, sync.layer_key(second): second.size}

    assert [first, second] == sync.missing([image, image], {})
    assert [second] == sync.missing([image], {**whole, sync.layer_key(second): 7})
    assert [] == sync.missing([image], whole)


LAB = """
image: {image}
stages: {{one: {{outputs: {{o: $out/o}}, run: 'echo >"$out/o"'}}}}
pipelines: {{p: [one]}}
runs: {{r: {{pipelines: [p]}}}}
"""


def built(folder: Path, image: str) -> tuple[build.Built, Image]:
    (folder / "lab.yaml").write_text(LAB.format(image=image))
    made = build.build(folder / "lab.yaml", folder / "result", lambda _name, _text: None)
    (metadata,) = made.path.glob("revision/metadata-r.json")
    return made, images.read(FolderFiles(made.path), json.loads(metadata.read_text())["image"])


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_build_takes_an_archive_as_it_is(tmp_path: Path) -> None:
    archive(tmp_path)

    made, image = built(tmp_path, "images/x.tar")

    assert SUMS == [each.sha256 for each in image.layers]
    assert {f"{each}-layer.tar" for each in SUMS} <= names(made.path / "store")


def test_build_makes_an_image_of_a_folder_the_same_each_time(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "bin").mkdir(parents=True)
    (root / "bin/tool").write_text("#!/bin/sh\\n")
    (root / "bin/tool").chmod(0o755)
    (root / "link").symlink_to("bin/tool")

    made, image = built(tmp_path, "root")
    os.utime(root / "bin/tool", (7, 7))
    again, _ = built(tmp_path, "root")

    assert (made.lab_id, False) == (again.lab_id, again.new)
    with image.layers[0].open() as stream, tarfile.open(fileobj=stream) as tar:
        assert {"bin": 0o755, "bin/tool": 0o755, "link": 0o777} == {
            member.name: member.mode for member in tar
        }
    (root / "bin/tool").write_text("#!/bin/sh\\n# other\\n")
    changed, _ = built(tmp_path, "root")
    assert made.lab_id != changed.lab_id
    assert names(made.path / "jobs") != names(changed.path / "jobs")


def test_build_says_where_the_image_is_named_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ProblemsError) as caught:
        built(tmp_path, "nowhere.tar")

    assert "lab.yaml:2:1: image: cannot read" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("debian:12", True),
        ("quay.io:443/a/b:1", True),
        ("image.tar", False),
        ("oci:folder/image", False),
        ("./x:1", False),
    ],
)
def test_a_name_that_looks_like_one_of_a_registry_gets_a_hint(
    tmp_path: Path, name: str, *, hint: bool
) -> None:
    with pytest.raises(ProblemsError) as caught:
        built(tmp_path, name)

    assert hint == (f"is written docker://{name}" in str(caught.value))


def test_a_run_and_a_stage_have_images_of_their_own(tmp_path: Path) -> None:
    for name in ("lab", "run", "stage"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "name").write_text(name)
    stage = {"outputs": {"o": "$out/o"}, "run": 'echo >"$out/o"'}
    document = {
        "image": "lab",
        "stages": {"one": stage, "two": {**stage, "image": "stage"}},
        "pipelines": {"p": ["one"], "q": ["two"]},
        "runs": {"r": {}, "s": {"image": "run"}, "t": {"image": "stage"}},
    }
    (tmp_path / "lab.yaml").write_text(json.dumps(document))

    made = build.build(tmp_path / "lab.yaml", tmp_path / "result", lambda _name, _text: None)

    opened = load.open_lab(made.path)
    named: dict[str, dict[str, str]] = {}
    for run in opened.lab.runs.values():
        jobs = [opened.lab.jobs[name] for name in run.jobs]
        paths = {job.stage: opened.lab.image_of(job, run.name) for job in jobs}
        named[run.name] = {key: held(opened.files, path) for key, path in paths.items()}
    assert {
        "r": {"one": "lab", "two": "stage"},
        "s": {"one": "run", "two": "stage"},
        "t": {"one": "stage", "two": "stage"},
    } == named


def held(files: LabFiles, path: str | None) -> str:
    """Return what the file `name` of an image holds."""
    assert path is not None
    (only,) = images.read(files, path).layers
    with only.open() as stream, tarfile.open(fileobj=stream) as tar:
        content = tar.extractfile("name")
        assert content is not None
        return content.read().decode()
