"""bash and shellcheck are asked once about the same text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from repx.lab.answers import Answers


class Tool:
    """Counts what it is asked."""

    def __init__(self) -> None:
        """Ask nothing yet."""
        self.asked: list[str] = []

    def __call__(self, argv: Sequence[str], stdin: str) -> tuple[int, str] | None:
        self.asked.append(stdin)
        return len(stdin), argv[0]


def answers(tool: Tool, folder: Path, identity: str | None = "v1") -> Answers:
    return Answers(tool, lambda _: identity, folder / "answers.json")


def test_what_was_asked_before_is_remembered(tmp_path: Path) -> None:
    tool = Tool()
    for text in ("a", "b", "a"):
        ours = answers(tool, tmp_path)
        assert (1, "bash") == ours(("bash", "-n"), text)
        ours.keep()

    assert ["a", "b"] == tool.asked


def test_another_version_or_other_options_are_asked_again(tmp_path: Path) -> None:
    tool = Tool()
    for identity, option in (("v1", "-n"), ("v2", "-n"), ("v2", "-x"), ("v1", "-n")):
        ours = answers(tool, tmp_path, identity)
        ours(("bash", option), "a")
        ours.keep()

    assert ["a", "a", "a"] == tool.asked


def test_a_program_that_is_not_there_is_not_asked(tmp_path: Path) -> None:
    assert answers(Tool(), tmp_path, None)(("shellcheck",), "a") is None


@pytest.mark.parametrize("content", ["", "[1]", '{"a": 3}', "{", "[" * 100_000])
def test_a_broken_file_counts_as_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "answers.json").write_text(content)
    ours = answers(Tool(), tmp_path)

    assert (1, "bash") == ours(("bash",), "a")
    ours.keep()
    assert "bash" in (tmp_path / "answers.json").read_text()


def test_a_place_that_cannot_be_written_is_no_mistake(tmp_path: Path) -> None:
    ours = answers(Tool(), tmp_path / "nowhere")
    ours(("bash",), "a")

    ours.keep()
