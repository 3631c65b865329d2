"""The blueprint as Nix writes it, made into the one that the expander reads."""

from __future__ import annotations

import json
import math
import os
import re
from typing import Any

from nix.builder import origins
from repx.lab.expand import BlueprintError, store_name
from repx.lab.expand.script import with_scripts
from repx.lab.expand.stages import leaves

_STORED = re.compile(r"/nix/store/[0-9a-z]{32}-([^/]+)(?:/.*?([^/]+))?")


def load(path: str) -> dict[str, Any]:
    """Return the blueprint: floats restored, scans done, files of programs in the store."""
    with open(path, encoding="utf-8") as stream:
        blueprint: dict[str, Any] = json.load(stream, object_hook=_restored)
    files: dict[str, Any] = {}
    definitions = blueprint.pop("definitions")
    own_names = dict(blueprint["own_names"])
    for run in blueprint["runs"]:
        for values in [*run["parameter_axes"].values(), *_columns(run)]:
            _name(own_names, values)
        for pipeline in run["pipelines"]:
            for stage in pipeline["stages"]:
                for leaf in leaves(stage):
                    for executable in leaf["executables"].values():
                        origins.locate(executable["script"], definitions)
                        _keep(executable["script"]["body"], files)
    found = {**blueprint, "files": list(files.values()), "own_names": own_names}
    return with_scripts(found)


def _restored(value: dict[str, Any]) -> Any:  # noqa: ANN401  # any JSON value
    if value.keys() == {"$float"}:
        mantissa, exponent = value["$float"]
        return math.ldexp(mantissa, exponent) if mantissa else (-0.0 if exponent else 0.0)
    if value.keys() == {"$scan"}:
        return _scanned(**value["$scan"])
    return value


def _scanned(path: str, type: str, match: str | None) -> list[str]:  # noqa: A002  # its name in Nix
    """Return the entries of a folder that was built just now, in the order of their names."""
    found = []
    for entry in sorted(os.scandir(path), key=lambda entry: entry.name):
        kind = "directory" if entry.is_dir() else "file"
        if type in ("any", kind) and (match is None or re.fullmatch(match, entry.name)):
            found.append(f"{path}/{entry.name}")
    if not found:
        raise BlueprintError(f"nothing in {path} is a {type} whose name matches {match!r}")
    return found


def _columns(run: dict[str, Any]) -> list[list[Any]]:
    return [
        [row[name] for row in group["values"]]
        for group in run["zip_groups"]
        for name in group["members"]
    ]


def _name(own_names: dict[str, str], values: list[Any]) -> None:
    """Note the file names of values that are store paths."""
    for value in values:
        match = _STORED.fullmatch(value) if isinstance(value, str) else None
        if match:
            own_names.setdefault(value, match[2] or match[1])


def _keep(body: dict[str, Any], files: dict[str, Any]) -> None:
    """Give the files of a program their names in the Lab's store."""
    for field in ("files", "python"):
        source = body.get(field)
        if isinstance(source, dict):
            source["tree"] = dict(_files(source["tree"]))
            source["name"] = store_name(source)
            files[source["name"]] = source
            body[field] = source["name"]


def _files(tree: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Return every file of a tree; folders are walked."""
    found = []
    for name, file in tree.items():
        if not os.path.isdir(file["path"]):
            executable = bool(file.get("executable")) or os.access(file["path"], os.X_OK)
            found.append((name, {**file, "executable": executable}))
            continue
        for folder, folders, names in os.walk(file["path"]):
            folders.sort()
            for each in sorted(names):
                path = os.path.join(folder, each)
                below = os.path.relpath(path, file["path"])
                one = {"path": path, "executable": os.access(path, os.X_OK)}
                if "origin" in file:
                    one["origin"] = f"{file['origin']}/{below}"
                found.append((f"{name}/{below}", one))
    return found
