"""Read the profiles of a targets.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from repx import document
from repx.config import dialects, profile, rules, targets, xdg
from repx.config.entry import Entry
from repx.errors import InputError, ProblemsError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

    from repx.errors import Problem
    from repx.target import Dialect, Target


def read(path: Path, shown: Path, env: Mapping[str, str]) -> targets.Targets:
    """Return the profiles of a file. Raises ProblemsError with every mistake in it."""
    doc = document.load_valid(path, "targets.schema.json", shown=str(shown), cache=xdg.cache(env))
    root = Entry.root(doc)
    shared = rules.read(root.at("resources"))
    profiles = root.at("targets")
    default = root.get("default")
    if default is not None and default not in profiles:
        root.report("default", f"default: {_unknown(default, profiles.data)}")
    made: dict[str, Target] = {}
    broken: dict[str, tuple[Problem, ...]] = {}
    for name in profiles.data:
        entry, folder = profiles.at(name), path.absolute().parent
        places = profile.Places(entry, env, folder)
        dialect = _dialect(entry, places, env, folder)
        made[name] = profile.read(name, entry, places, shared, dialect)
        if places.problems:
            broken[name] = tuple(places.problems)
    if root.problems:
        raise ProblemsError(root.problems)
    return targets.Targets(profiles=made, file=shown, default=default, broken=broken)


def _dialect(
    entry: Entry, places: profile.Places, env: Mapping[str, str], folder: Path
) -> Dialect | None:
    """Read the dialect file that a profile names; note its mistakes as those of the target."""
    if not isinstance(entry.get("scheduler"), dict):
        return None
    scheduler = profile.Places(entry.at("scheduler"), env, folder)
    path = scheduler.local("dialect") or ""
    places.problems += scheduler.problems
    try:
        return dialects.load(Path(path), env)
    except ProblemsError as error:
        places.problems += error.problems
    except InputError as error:
        places.problems.append(entry.doc.problem((*entry.pointer, "scheduler"), error.message))
    return None


def _unknown(name: str, known: Mapping[str, object]) -> str:
    return (
        f"no target is named '{name}', {did_you_mean(name, known) or 'known: ' + ', '.join(known)}"
    )
