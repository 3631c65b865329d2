"""What the runner makes of what was found out on a node: the command of an isolated program."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repx.runner import jobfile, room
from repx.runner.jobfile import NeedsShell

JOB: Final[dict[str, bytes | list[bytes]]] = {
    "room": b"77",
    "in_bwrap": [b"@tool", b"@root", b"@@at", b"--", b"/b/x"],
    "in_podman": [b"@tool", b"/b/x"],
}


def node(**changed: str) -> bytes:
    lines = {
        "runtime": "bwrap",
        "passed_over": "''",
        "root": "''",
        "spared": "2",
        "at_tool": "(/bin/bwrap)",
        "at_root": "('--bind' 'it'\"'\"'s' /)",
        **changed,
    }
    return "".join(f"repx_{name}={value}\n" for name, value in lines.items()).encode()


def found(tmp_path: Path, text: bytes) -> room.Room:
    boot = Path(room.BOOT).read_text().partition("-")[0]
    host = os.environ.get("HOSTNAME") or os.uname().nodename
    (tmp_path / "nodes").mkdir()
    (tmp_path / f"nodes/{host}.{boot}.77.sh").write_bytes(text)
    return room.of(JOB, os.fsencode(tmp_path))


def test_the_words_of_the_node_stand_for_their_names(tmp_path: Path) -> None:
    it = found(tmp_path, node())

    assert [b"/bin/bwrap", b"--bind", b"it's", b"/", b"@at", b"--", b"/b/x"] == it.command
    assert 2 == it.spared
    assert b',"runtime":"bwrap"' == it.members


def test_the_marker_says_why_others_were_passed_over(tmp_path: Path) -> None:
    it = found(tmp_path, node(passed_over=shlex.quote('apptainer: "no"')))

    said = json.loads(b"{" + it.members.removeprefix(b",") + b"}")
    assert {"runtime": "bwrap", "passed_over": 'apptainer: "no"'} == said


@pytest.mark.parametrize(
    "changed",
    [
        {"spared": "''"},
        {"runtime": "podman", "spared": "''"},
        {"runtime": "other"},
        {"root": "/no/such/folder"},
        {"at_root": "'no words'"},
    ],
)
def test_what_only_bash_can_start_is_left_to_it(tmp_path: Path, changed: dict[str, str]) -> None:
    with pytest.raises(NeedsShell):
        found(tmp_path, node(**changed))


def test_where_nothing_was_found_out_bash_does(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="nodes"):
        room.of(JOB, os.fsencode(tmp_path))


@given(text=st.text(st.characters(exclude_characters="\0", codec="utf-8")))
def test_any_word_of_a_node_is_read_as_it_was_meant(text: str) -> None:
    values, _ = jobfile.assignments(f"repx_at_x=({shlex.quote(text)})\n".encode())

    assert [text.encode()] == values["at_x"]
