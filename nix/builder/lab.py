"""The builder of a Lab: Nix starts it with a blueprint and the closures of what scripts use."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from nix.builder import blueprint, closure, origins, tools
from nix.builder.images import Images
from repx.lab.expand import BlueprintError, expand

if TYPE_CHECKING:
    from repx.lab.expand.writer import Writer

_SHARED_IMAGE = "repx-shared-image"


def main() -> int:
    """Build the Lab; the exit code is 2 where the blueprint describes none."""
    try:
        described = blueprint.load(os.environ["blueprintPath"])
        jobs = expand(described, os.environ["out"], add=lambda writer: _add(described, writer))
    except BlueprintError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{_count(sum(jobs.values()), 'job')} in {_count(len(jobs), 'run')}", file=sys.stderr)
    return 0


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _add(described: dict[str, Any], writer: Writer) -> dict[str, str]:
    """Write what the Lab carries besides its jobs; return each run's image."""
    writer.file(origins.PATH, [origins.text(described).encode()])
    if described["host_tools"]:
        tools.add(writer, described["host_tools"])
    mode = described["container_mode"]
    if mode == "none":
        return {}
    environment = os.environ
    links = {
        "bin/sh": f"{environment['bash']}/bin/bash",
        "bin/bash": f"{environment['bash']}/bin/bash",
        "usr/bin/env": f"{environment['coreutils']}/bin/env",
    }
    images = Images(writer, environment["system"], links)
    if mode == "unified":
        shared = images.add(_SHARED_IMAGE, closure.read("closure"))
        return {run["name"]: shared for run in described["runs"]}
    names = [run["name"] for run in described["runs"]]
    return {name: images.add(f"{name}-image", closure.read(f"closure-{name}")) for name in names}


if __name__ == "__main__":
    sys.exit(main())
