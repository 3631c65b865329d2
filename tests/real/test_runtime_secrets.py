"""Secrets of isolated jobs: the program has them, and no command line and no file does."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.real.runtime_place import RUNTIMES

if TYPE_CHECKING:
    from tests.real.place import Place

pytestmark = pytest.mark.needs("images")

# The hash of what it got proves that the program has it; the value itself must not be written.
RUN = """
printf '%s|%s' "$TOKEN" "$KEY" | busybox sha256sum >"$out/sum"
env | grep -c LEAKED >"$out/leaked" || true
touch "$out/begun"
sleep 2
"""


def lab() -> dict[str, object]:
    return {
        "stages": {"one": {"outputs": {"sum": "$out/sum"}, "run": RUN}},
        "pipelines": {"p": ["one"]},
        "runs": {"r": {"pipelines": ["p"]}},
    }


def command_lines() -> bytes:
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(path.read_bytes())
        except OSError:
            continue
    return b"".join(lines)


def digest(here: Place) -> list[str]:
    return [text.split()[0] for text in here.output("*/out/sum")]


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_secrets_reach_the_program_and_nothing_else(
    isolated: Callable[..., Place], tmp_path: Path, runtime: str
) -> None:
    key, token = secrets.token_hex(), f"it's $HOME\n{secrets.token_hex()}"
    (tmp_path / "token").write_text(f"{token}\n")
    given = {"TOKEN": {"from": str(tmp_path / "token")}, "KEY": {"env": "GIVEN"}}
    here = isolated(lab(), runtime, environment=given)
    process = here.start("run", "--trust", GIVEN=key, LEAKED="from the user's shell")

    here.wait_until(lambda: here.output("*/out/begun") or process.poll() is not None)
    seen = command_lines()
    process.communicate(timeout=60)

    assert [hashlib.sha256(f"{token}|{key}".encode()).hexdigest()] == digest(here)
    assert ["0\n"] == here.output("*/out/leaked")
    hidden = (key.encode(), token.splitlines()[1].encode())
    assert not [value for value in hidden if value in seen]
    files = [path for path in here.store.rglob("*") if path.is_file()]
    assert not [path for path in files for value in hidden if value in path.read_bytes()]


@pytest.mark.parametrize("runtime", RUNTIMES[:1])
def test_debug_run_has_them_too(
    isolated: Callable[..., Place], tmp_path: Path, runtime: str
) -> None:
    (tmp_path / "token").write_text("s3cr3t\n")
    given = {"TOKEN": {"from": str(tmp_path / "token")}}
    here = isolated(lab(), runtime, environment=given)
    job = here.repx("list", "jobs").split()[0]

    said = here.repx("debug-run", "--trust", job, "-c", 'echo "at $(hostname): $TOKEN"')

    assert "at repx: s3cr3t\n" in said
    files = [path for path in here.store.rglob("*") if path.is_file()]
    assert not [path for path in files if b"s3cr3t" in path.read_bytes()]
