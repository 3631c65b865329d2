"""The place that is this machine: every verb is a direct call."""

from __future__ import annotations

import os
import pwd
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn, TypeVar

from repx.errors import CommandError, CommandNotFoundError
from repx.places import command, holder
from repx.places.command import Completed
from repx.places.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from repx.places import Files, Place, Process, Question
    from repx.target import Target

T = TypeVar("T")

_NOT_FOUND: Final = 127


class Here:
    """The place that is this machine."""

    name = ""
    python = sys.executable

    def __init__(self, root: str = "") -> None:
        """Take the store's folder."""
        self.root = root

    run = staticmethod(command.run)
    signal = staticmethod(holder.signal_holder)

    @property
    def user(self) -> str:
        """Return the user's name; the number where the account has none, as in some containers."""
        try:
            return pwd.getpwuid(os.geteuid()).pw_name
        except KeyError:
            return str(os.geteuid())

    def settled(self, target: Target) -> Target:
        """Return the target: its paths were expanded when its profile was read."""
        return target

    def files(self, root: str, share: str = "") -> Files:
        """Return the files below a folder."""
        return Tree(root, share)

    def ask(self, questions: Sequence[Question[T]]) -> list[T]:
        """Return the answers to all questions."""
        return [question.read(_answer(question)) for question in questions]

    def spawn(
        self, words: Sequence[str], *, output: str, cwd: str, more_env: Mapping[str, str]
    ) -> Process:
        """Start a process that outlives this one."""
        return command.detach(words, output=Path(output), cwd=Path(cwd), more_env=more_env)

    def share(self) -> None:
        """Do nothing: there is no connection."""

    def close(self) -> None:
        """Do nothing: there is no connection."""

    def become(self, words: Sequence[str], *, cwd: str, more_env: Mapping[str, str]) -> NoReturn:
        """Become another program."""
        command.replace(words, cwd=Path(cwd), more_env=more_env)


def _answer(question: Question[T]) -> Completed:
    try:
        return command.run(question.words, timeout_s=question.timeout_s, check=False)
    except CommandNotFoundError as error:
        return Completed(code=_NOT_FOUND, stdout="", stderr=str(error))
    except CommandError as error:
        return Completed(code=error.code, stdout="", stderr=error.stderr)


HERE: Final[Place] = Here()  # for what needs no store
