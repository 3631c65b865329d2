"""The dialect and the tables that a submission's folder keeps, for whoever looks at it later."""

from __future__ import annotations

import dataclasses
import json
import logging
import re
from typing import Any, Final

from repx.target import Dialect

log = logging.getLogger(__name__)

_WORDS: Final = ("submit", "after", "query", "cancel")
_TEXTS: Final = ("name", "id_pattern", "join")
_GROUPS: Final = ("id", "state")


def text(dialect: Dialect) -> str:
    """Return what is written."""
    return json.dumps(dataclasses.asdict(dialect), indent=1)


def read(written: str) -> Dialect:
    """Return the dialect. Raises ValueError for a damaged one."""
    try:
        found: dict[str, Any] = json.loads(written)
        dialect = Dialect(**found)
        _check(found)
    except (AttributeError, KeyError, RecursionError, TypeError, re.error) as error:
        raise ValueError(str(error)) from error
    return dialect


def pairs(path: str, table: str) -> list[tuple[str, str]]:
    """Return the rows of a table with two columns; name a damaged one, and pass over it."""
    found = []
    for place, line in enumerate(table.splitlines(), start=1):
        first, _, second = line.partition("\t")
        if first and second:
            found.append((first, second))
        else:
            log.warning("%s:%s: a damaged line; passed over", path, place)
    return found


def _check(found: dict[str, Any]) -> None:
    """Raise ValueError, or whatever a value of another type leads to."""
    words = [word for name in _WORDS for word in found[name]]
    texts = [found[name] for name in _TEXTS]
    states = [each for pair in found["states"].items() for each in pair]
    pattern = re.compile(found["job_pattern"])
    re.compile(found["none_pattern"])
    lists = all(isinstance(found[name], list) and found[name] for name in _WORDS)
    plain = all(isinstance(each, str) and "\0" not in each for each in (*words, *texts, *states))
    if not lists or not plain or not set(_GROUPS) <= pattern.groupindex.keys():
        raise ValueError("not as repx writes it")
