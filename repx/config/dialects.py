"""A dialect file: YAML that a schema accepts, as a Dialect."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from repx import document
from repx.config import xdg
from repx.config.entry import Entry
from repx.errors import ProblemsError
from repx.target import Dialect

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_GROUPS = ("id", "state")


def load(path: Path, env: Mapping[str, str]) -> Dialect:
    """Read a dialect file.

    Raises InputError when it cannot be read, ProblemsError with every mistake in it.
    """
    doc = document.load_valid(path, "dialect.schema.json", shown=str(path), cache=xdg.cache(env))
    root = Entry.root(doc)
    _check_patterns(root)
    if root.problems:
        raise ProblemsError(root.problems)
    return Dialect(
        name=root.get("name"),
        submit=root.words("submit"),
        id_pattern=root.get("id"),
        after=root.words("after"),
        join=root.get("join", ","),
        resources={name: tuple(words) for name, words in root.get("resources", {}).items()},
        query=root.words("query"),
        job_pattern=root.get("job"),
        none_pattern=root.get("none", ""),
        states=dict(root.get("states")),
        cancel=root.words("cancel"),
    )


def _check_patterns(root: Entry) -> None:
    for key, groups in (("id", 1), ("job", len(_GROUPS)), ("none", 0)):
        if key not in root:
            continue
        try:
            pattern = re.compile(root.get(key))
        except re.error as error:
            root.report(key, f"{key}: not a regular expression: {error}")
            continue
        if pattern.groups < groups:
            root.report(key, f"{key}: needs a group, like ([0-9]+)")
        elif key == "job" and not set(_GROUPS) <= pattern.groupindex.keys():
            root.report(key, "job: needs the groups (?P<id>...) and (?P<state>...)")
    if not any("{ids}" in word for word in root.words("after")):
        root.report("after", "after: one of the words must hold {ids}")
