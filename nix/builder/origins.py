"""Where the user wrote the programs of a Lab: a failed job names that line, not the Lab's copy."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from nix.builder import written
from repx.lab.expand.lab import sources_of

if TYPE_CHECKING:
    from collections.abc import Mapping

PATH = "revision/origins.json"


def locate(script: dict[str, Any], definitions: Mapping[str, str]) -> None:
    """Note the row of each line of a script that was written in a file of Nix."""
    origin, lines = script.pop("written"), script["body"].get("lines")
    if lines is not None and origin["line"]:
        digest = origin["definition"]
        rows = written.rows(definitions[digest], origin["line"], lines)
        script["origin"] = {"file": origin["file"], "sha256": digest, "rows": rows}


def text(described: Mapping[str, Any]) -> str:
    """Return the origins of a blueprint's programs as JSON, by their path below ``store/``.

    Lines of Nix have a file, its checksum and a row for each line; other programs have a file.
    """
    found: dict[str, Any] = {}
    for source, _ in sources_of(described):
        if "origin" in source:
            found[source["name"]] = source["origin"]
        for below, file in source.get("tree", {}).items():
            if "origin" in file:
                found[f"{source['name']}/{below}"] = {"file": file["origin"]}
    return json.dumps(found, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
