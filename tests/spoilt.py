"""Copies of Labs, and ways to spoil them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable


SIMULATION: Final = "revision/metadata-simulation-run.json"
ANALYSIS: Final = "revision/metadata-analysis-run.json"
TOP: Final = "revision/metadata-top.json"
MANIFEST: Final = "lab/lab-metadata.json"
GENERATE: Final = "15h0xgj4swj9gxrrkkvv867l55w1n9hq-stage-a-generate-1.0"
TRANSFORM: Final = "1cwc8p01cdgkzhrnm2nsvfb7bmksfjch-stage-b-transform-1.0"
TOTAL: Final = "06picx6cgcpvjhlv2nf0zgk8dl0sg19d-stage-c-total-1.0"
ANALYSE: Final = "11br30xd3qm2hsgbawwjkyd6yph2z97k-stage-analysis-1.0"
SQUARES: Final = "114nldsqgggscc8l3nkzg60njsdvwmrf-b-square-sum-1.0"


def copied(labs: Path, tmp_path: Path, name: str = "simple-two-runs") -> Path:
    folder = tmp_path / "lab"
    shutil.copytree(labs / name, folder, symlinks=True)
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755)
    return folder


def edit(folder: Path, path: str, change: Callable[[Any], object]) -> None:
    """Change a JSON file in place, or replace it by what ``change`` returns."""
    document = json.loads((folder / path).read_bytes())
    replaced = change(document)
    content = json.dumps(document if replaced is None else replaced)
    (folder / path).write_text(content, encoding="utf-8")


def put(value: object, *keys: str | int) -> Callable[[Any], None]:
    """Return a change that sets the field at the end of ``keys``."""

    def change(document: Any) -> None:  # noqa: ANN401  # JSON
        for key in keys[:-1]:
            document = document[key]
        document[keys[-1]] = value

    return change


def drop(*keys: str | int) -> Callable[[Any], None]:
    def change(document: Any) -> None:  # noqa: ANN401  # JSON
        for key in keys[:-1]:
            document = document[key]
        del document[keys[-1]]

    return change


def main_of(job: str, *keys: str | int) -> tuple[str | int, ...]:
    return ("jobs", job, "executables", "main", *keys)


def many_jobs(folder: Path, count: int) -> list[str]:
    """Give the first run a chain of that many jobs more; return their ids."""
    ids = [f"chain{number}-link-1.0" for number in range(count)]

    def lengthen(document: Any) -> None:  # noqa: ANN401  # JSON
        before, output = GENERATE, "numbers"
        for job_id in ids:
            job = json.loads(json.dumps(document["jobs"][TRANSFORM]))
            job["executables"]["main"]["inputs"][0].update(job_id=before, source_output=output)
            document["jobs"][job_id] = job
            before, output = job_id, "scaled"

    edit(folder, SIMULATION, lengthen)
    return ids
