"""What isolation costs: jobs in a runtime by repx and by hand, and unpacking beside plain tar.

By hand, xargs starts the very words that repx starts, in a store where all that they need is there.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench import measure, ours
from bench.ours import REPX
from bench.peers import PARALLEL
from repx import assets
from repx.runner import jobfile, room
from tests import image_labs

if TYPE_CHECKING:
    from bench.measure import Sample

ROUNDS: Final = 3
JOBS: Final = 301
UNPACKING: Final = "unpack"
PARTS: Final = ("native", "bwrap", "charliecloud", UNPACKING)
STAGE: Final = 'echo "${parameters[i]}" >"${outputs[n]}"'
# The image that is unpacked: a base, and later layers that add to some folders of it.
FILES, FOLDERS, FILE_BYTES, LATER = 6_000, 400, 8_000, 3
UNPACK: Final = f"""
. {assets.path("templates/unpack.sh")}
repx_unpack "$0" "$@" || {{ echo "$repx_why"; exit 1; }}
"""
UNTAR: Final = 'mkdir "$0" && for layer; do tar -xf "$layer" -C "$0" || exit; done'


def write(folder: Path, runtime: str, jobs: int) -> None:
    """Build a Lab of independent jobs with a small image, and name the runtime."""
    folder.mkdir()
    lab = {
        "stages": {
            "one": {"parameters": {"i": 0}, "outputs": {"n": "$out/n"}, "run": STAGE},
        },
        "pipelines": {"p": ["one"]},
        "runs": {"r": {"pipelines": ["p"], "parameters": {"i": list(range(jobs))}}},
    }
    (folder / "lab.yaml").write_text(json.dumps(lab))
    measure.run([REPX, "build"], cwd=folder, env=os.environ)
    if runtime != "native":
        built = folder / "with-image"
        image_labs.with_image(folder / "result", built, [image_labs.shell_layer()])
        (folder / "result").unlink()
        built.rename(folder / "result")


def target(folder: Path, runtime: str, store: str) -> None:
    """Have the next run use a store; images stay where they are."""
    profile = {"base_path": store, "runtime": runtime, "node_local_path": str(folder / "node")}
    (folder / "targets.yaml").write_text(json.dumps({"targets": {"here": profile}}))


def by_hand(folder: Path, number: int) -> list[str]:
    """Return the command that runs again what a run of repx started."""
    (submission,) = (folder / f"store{number}" / "submissions").iterdir()
    lines: list[list[bytes]] = []
    for path in sorted(submission.glob("jobs/*.sh")):
        values = jobfile.read(path.read_bytes())
        inside = room.of(values, os.fsencode(submission)) if values["room"] else None
        lines.append(inside.command if inside else [b"bash", *values["command"]])
    for path in (folder / f"store{number}").glob("outputs/*/out/n"):
        path.unlink()  # to write a file anew is dearer than to write one
    (folder / "words").write_bytes(b"".join(b"%b\0" % word for line in lines for word in line[1:]))
    count = len(lines[0]) - 1
    return ["xargs", "-0", "-a", "words", f"-P{PARALLEL}", f"-n{count}", os.fsdecode(lines[0][0])]


def isolation(root: Path, runtime: str, jobs: int) -> dict[str, list[Sample]]:
    """Run all jobs by repx and by hand, in turn; return the samples of each."""
    folder = root / runtime
    write(folder, runtime, jobs)
    taken: dict[str, list[Sample]] = {"repx": [], "hand": []}
    for number in range(ROUNDS + 1):
        target(folder, runtime, f"store{number}")
        run = [REPX, "run", "--trust", "-j", str(PARALLEL)]
        mine = measure.run(run, cwd=folder, env=os.environ)
        hand = measure.run(by_hand(folder, number), cwd=folder, env=os.environ)
        if number:  # the first round warms up: it unpacks
            taken["repx"].append(mine)
            taken["hand"].append(hand)
    return taken


def unpacking(root: Path) -> dict[str, list[Sample]]:
    """Unpack the layers of an image by repx and by tar alone, in turn."""
    layers = [root / f"{number}.tar" for number in range(1 + LATER)]
    for number, path in enumerate(layers):
        count, folders = (FILES // 10, 30) if number else (FILES, FOLDERS)
        names = [f"d{n % folders}/{number}-{n}" for n in range(count)]
        path.write_bytes(image_labs.layer({name: os.urandom(FILE_BYTES) for name in names}))
    sums = [hashlib.sha256(path.read_bytes()).hexdigest() for path in layers]
    mine = [str(word) for pair in zip(layers, sums, strict=True) for word in pair]
    hand = [str(path) for path in layers]
    taken: dict[str, list[Sample]] = {"repx": [], "hand": []}
    for number in range(2 * ROUNDS):
        for name, text, words in (("repx", UNPACK, mine), ("hand", UNTAR, hand)):
            argv = ["bash", "-c", text, str(root / f"{name}{number}"), *words]
            taken[name].append(measure.run(argv, cwd=root, env=os.environ))
    return taken


def row(name: str, taken: Mapping[str, Sequence[Sample]], unit: str, per: float) -> str:
    """Return the medians of wall times as a line of the table, with repx's multiple."""
    mine, hand = (statistics.median(it.wall_s for it in taken[who]) for who in ("repx", "hand"))
    return f"| {name} | {mine / per:.3g} {unit} | {hand / per:.3g} {unit} | {mine / hand:.2f}x |"


def main() -> None:
    """Measure and print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"default: {' '.join(PARTS)}")
    parts = parser.parse_args().parts or PARTS
    ours.compile_modules()
    print("| Figure | repx | by hand | multiple |\n|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory(prefix="repx-bench-") as made:
        for part in parts:
            if part == UNPACKING:
                name = f"unpack {FILES + LATER * FILES // 10:,} files in {1 + LATER} layers"
                print(row(name, unpacking(Path(made)), "s", 1), flush=True)
            else:
                taken = isolation(Path(made), part, JOBS)
                print(row(f"{JOBS} jobs, {part}", taken, "ms", JOBS / 1000), flush=True)


if __name__ == "__main__":
    main()
