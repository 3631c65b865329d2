"""Find and read targets.yaml, and choose a profile."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from repx.config import old_settings, xdg
from repx.errors import InputError, ProblemsError, did_you_mean
from repx.target import Target

if TYPE_CHECKING:
    from collections.abc import Mapping

    from repx.errors import Problem

log = logging.getLogger(__name__)

FILE_NAME: Final = "targets.yaml"
_LOCAL: Final = "local"


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets:
    """The profiles of one file; ``file`` is None for the built-in one.

    ``broken`` are the profiles that cannot be used here, with the reasons, e.g. a variable that
    is not set on this machine: the other profiles remain usable.
    """

    profiles: Mapping[str, Target]
    file: Path | None = None
    default: str | None = None
    broken: Mapping[str, tuple[Problem, ...]] = field(default_factory=dict)


def load(
    file: Path | None, *, cwd: Path, env: Mapping[str, str], resources: Path | None = None
) -> Targets:
    """Read ``file``, else ./targets.yaml, else the user's, else return a ``local`` target.

    Without a targets.yaml, a warning names settings of RepX 0.5 that would apply, except
    ``resources``, which are read elsewhere. Raises InputError when the file cannot be read,
    ProblemsError with every mistake in it.
    """
    path = file or _found(cwd, env)
    if path is None:
        config, rules = old_settings.files(cwd, env)
        read = resources and cwd / resources
        _name_unread(*(str(old) for old in (config, *rules) if old not in (None, read)))
        return _built_in(env)
    from repx.config import targets_file  # YAML, schemas and rules

    shown = path.relative_to(cwd) if path.is_relative_to(cwd) else path
    return targets_file.read(path, shown, env)


@lru_cache(maxsize=8)  # once for each process
def _name_unread(*files: str) -> None:
    if files:
        log.warning(
            "not read, since they are RepX 0.5's: %s; `repx targets import` makes a targets.yaml of"
            " them",
            ", ".join(files),
        )


def choose(targets: Targets, name: str | None) -> Target:
    """Return the named profile, by default that of ``usual``.

    Raises InputError when there is no such profile, ProblemsError when it cannot be used here.
    """
    meant = name or usual(targets)
    if meant not in targets.profiles:
        raise _no_target(targets, name)
    if meant in targets.broken:
        raise ProblemsError(targets.broken[meant])
    return targets.profiles[meant]


def usual(targets: Targets) -> str:
    """Return the default name: that of ``default:``, else the only one, else ``local``."""
    known = targets.profiles
    return targets.default or (next(iter(known)) if len(known) == 1 else _LOCAL)


def _found(cwd: Path, env: Mapping[str, str]) -> Path | None:
    """Return the targets.yaml in ``cwd``, else the user's, else None."""
    folders = (cwd, xdg.config(env))
    files = (folder / FILE_NAME for folder in folders if folder is not None)
    return next((file for file in files if file.exists()), None)


def _built_in(env: Mapping[str, str]) -> Targets:
    data = xdg.data(env)
    if data is None:
        raise InputError("there is no targets.yaml and HOME is not set", hint="set one of them")
    store = str(data / "store")
    if (shown := xdg.not_utf8(store)) is not None:
        raise InputError(
            f"the store's path {shown} is not UTF-8: {xdg.UTF8_WANTED}",
            hint="write targets.yaml: `targets: {local: {base_path: /scratch/me}}`",
        )
    return Targets(profiles={_LOCAL: Target(name=_LOCAL, base_path=store)})


def _no_target(targets: Targets, name: str | None) -> InputError:
    listed = ", ".join(targets.profiles)
    if name is None:
        return InputError(
            f"{targets.file} has several targets and no `default:`",
            hint=f"choose one with `--target NAME`: {listed}",
        )
    if targets.file is None:
        return InputError(
            f"no target is named '{name}', since there is no targets.yaml here",
            hint="write one (targets.example.yaml shows how) or name it with `--targets FILE`",
        )
    hint = did_you_mean(name, targets.profiles) or f"{targets.file} has {listed}"
    return InputError(f"no target is named '{name}' in {targets.file}", hint=hint)
