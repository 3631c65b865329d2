"""Small blueprints, and the jobs the expander makes of them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from repx.lab import expand

Raw = dict[str, Any]


def feed(stage: str, output: str, target: str | None = None) -> Raw:
    return {
        "type": "intra-pipeline",
        "stage": stage,
        "source_output": output,
        "target_input": target or output,
    }


def stage(key: str, *inputs: Raw, **fields: Any) -> Raw:  # noqa: ANN401  # any JSON
    script = {"label": key, "text": fields.pop("text", f"echo {key}\n")}
    outputs = fields.pop("outputs", {"out": "$out/out.txt"})
    main = {"script": script, "inputs": list(inputs), "outputs": outputs}
    return {
        "key": key,
        "pname": key,
        "version": "1.0",
        "stage_type": "simple",
        "input_mappings": list(inputs),
        "executables": {"main": main},
        **fields,
    }


def run(name: str, *stages: Raw, **fields: Any) -> Raw:  # noqa: ANN401  # any JSON
    return {"name": name, "pipelines": [{"source": "main", "stages": list(stages)}], **fields}


def blueprint(*runs: Raw, **fields: Any) -> Raw:  # noqa: ANN401  # any JSON
    return {"version": 1, "lab_version": "1", "repx_version": "0", "runs": list(runs), **fields}


def expanded(tmp_path: Path, *runs: Raw, **fields: Any) -> dict[str, Raw]:  # noqa: ANN401
    """Return the jobs of a Lab built from the runs, by id."""
    target = tmp_path / f"lab-{len(list(tmp_path.iterdir()))}"
    expand.expand(blueprint(*runs, **fields), os.fspath(target))
    jobs: dict[str, Raw] = {}
    for path in sorted(target.glob("revision/metadata-*.json")):
        jobs.update(json.loads(path.read_text(encoding="utf-8")).get("jobs", {}))
    return jobs
