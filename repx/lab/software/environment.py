"""A virtual environment that works in any folder, and the list of its files."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final

from repx import whole
from repx.lab.expand.script import python_launcher

if TYPE_CHECKING:
    from collections.abc import Iterator

    from repx.lab.blueprint import File, Source
    from repx.lab.software.packages import Pins

# Compiled files record the source's checksum, not its time, which copying changes.
COMPILE: Final = ("-m", "compileall", "-q", "-j", "0", "--invalidation-mode", "unchecked-hash")
_LABEL: Final = "python"
_LAUNCHERS: Final = ("python", "python3")
_OF_ONE_MACHINE: Final = frozenset(
    {"direct_url.json", "uv_cache.json", "_virtualenv.py", "_virtualenv.pth"}
)
_EXECUTABLE: Final = 0o111


def settle(root: Path, pins: Pins, file: str) -> None:
    """Make a virtual environment independent of its folder; its Python still works afterwards."""
    home = _home(root)
    for script in sorted((root / "bin").iterdir()):
        if script.name.lower().startswith(("activate", "deactivate", "pydoc")):
            script.unlink()
        elif not script.is_symlink():
            _move_interpreter(script)
    (root / "pyvenv.cfg").write_text(
        f"home = {home}\ninclude-system-site-packages = false\nversion = {pins.python}\n",
        encoding="utf-8",
    )
    for record in root.glob("lib/*/site-packages/*.dist-info/RECORD"):
        _write_record(record)
    for path in _files(root):
        if path.name in _OF_ONE_MACHINE:
            path.unlink()
    platform = pins.platform if any(root.glob("lib/**/*.so")) else ""
    launcher = python_launcher(home=home, version=pins.python, platform=platform, file=file)
    (root / "launcher").write_text(launcher, encoding="utf-8")


def keep(root: Path, place: Path) -> None:
    """Put the environment in its place, read-only, with the list of its files beside it."""
    launcher = root / "launcher"
    version = next((root / "lib").glob("python*")).name
    for python in (root / "bin").glob("python*"):
        python.unlink()
    for name in (*_LAUNCHERS, version):
        shutil.copyfile(launcher, root / "bin" / name)
        (root / "bin" / name).chmod(0o555)
    launcher.unlink()
    listed = {}
    for path in _files(root):
        if path.is_symlink():
            continue
        executable = bool(path.stat().st_mode & _EXECUTABLE) and path.parent.name == "bin"
        path.chmod(0o555 if executable else 0o444)
        listed[os.path.relpath(path, root)] = [_sha256(path), executable]
    shutil.rmtree(place, ignore_errors=True)
    root.rename(place)
    _list_of(place).write_text(json.dumps(listed), encoding="utf-8")


def source(place: Path) -> Source | None:
    """Return the store entry for an environment that is complete, None if there is none."""
    try:
        listed = json.loads(whole.read(_list_of(place)))
        tree: dict[str, File] = {
            name: {"path": f"{place}/{name}", "sha256": sha, "executable": executable, "link": True}
            for name, (sha, executable) in listed.items()
        }
    except (AttributeError, OSError, RecursionError, TypeError, ValueError):
        return None  # it is installed again
    if not all(os.path.exists(each["path"]) for each in tree.values()):  # noqa: PTH110  # many
        return None
    return {"label": _LABEL, "name": f"{place.name}-{_LABEL}", "tree": tree, "made": True}


def _list_of(place: Path) -> Path:
    return place.with_name(f"{place.name}.json")


def _home(root: Path) -> str:
    """Return the folder of the Python that the environment was made with."""
    for line in (root / "pyvenv.cfg").read_text(encoding="utf-8").splitlines():
        key, _, value = line.partition("=")
        if key.strip() == "home":
            return value.strip()
    return "/usr/bin"


def _move_interpreter(script: Path) -> None:
    """Make a package's script run by the first Python in PATH: the environment's."""
    content = script.read_bytes()
    first, _, rest = content.partition(b"\n")
    if first.startswith(b"#!/bin/sh") and rest.startswith(b"'''exec'"):  # for long paths
        rest = rest.split(b"' '''\n", 1)[-1]
    elif not (first.startswith(b"#!") and b"python" in first.rpartition(b"/")[2]):
        return
    script.write_bytes(b"#!/usr/bin/env python3\n" + rest)


def _write_record(record: Path) -> None:
    """Drop the files that repx changed from a package's list of files, and sort the list."""
    lines = record.read_text(encoding="utf-8").splitlines()
    kept = [
        line
        for line in lines
        if not line.startswith("../") and not any(name in line for name in _OF_ONE_MACHINE)
    ]
    record.write_text("\n".join([*sorted(kept), ""]), encoding="utf-8")


def _files(root: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(root):
        folders.sort()
        yield from (Path(folder, name) for name in sorted(names))


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
