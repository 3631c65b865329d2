"""Answers of bash and shellcheck, by text: after an edit, only the edited stage is checked."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from repx import whole

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    Answer = tuple[int, str] | None
    Tool = Callable[[Sequence[str], str], Answer]

_MOST: Final = 5000  # above this number, answers that this build did not use are dropped first


class Answers:
    """A tool that remembers its answers in a file. Mutable; call ``keep`` at the end.

    ``identity`` identifies the program that a name stands for now, None if there is none: another
    version may answer differently.
    """

    def __init__(self, tool: Tool, identity: Callable[[str], str | None], file: Path) -> None:
        """Read the answers of earlier builds; a broken file counts as empty."""
        self._tool = tool
        self._identity = identity
        self._identities: dict[str, str | None] = {}
        self._file = file
        self._before = _read(file)
        self._now: dict[str, list[int | str]] = {}

    def __call__(self, argv: Sequence[str], stdin: str) -> Answer:
        """Return the program's answer, from memory if it answered the same call before."""
        name = argv[0]
        if name not in self._identities:
            self._identities[name] = self._identity(name)
        if self._identities[name] is None:
            return None
        asked = json.dumps([self._identities[name], *argv, stdin])
        key = hashlib.sha256(asked.encode(errors="surrogatepass")).hexdigest()
        known = self._now.get(key) or self._before.get(key)
        if known is None:
            answer = self._tool(argv, stdin)
            if answer is None:
                return None
            known = list(answer)
        self._now[key] = known
        return int(known[0]), str(known[1])

    def keep(self) -> None:
        """Write the answers; if the file cannot be written, the next build only takes longer."""
        if self._now.keys() <= self._before.keys():
            return
        kept = dict(list((self._now | self._before).items())[:_MOST])
        with suppress(OSError):
            whole.write(self._file, json.dumps(kept))


def _read(file: Path) -> dict[str, list[int | str]]:
    try:
        found = json.loads(whole.read(file))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {key: answer for key, answer in found.items() if _is_answer(answer)}


def _is_answer(value: object) -> bool:
    match value:
        case [int(), str()]:
            return True
        case _:
            return False
