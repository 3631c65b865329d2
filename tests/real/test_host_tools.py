"""What a Lab brings along: its host tools, where the machine lacks them."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.real.folders import MakeFolder, Work

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.real


def test_the_labs_own_flock_is_used_where_the_machine_has_none(
    folder: MakeFolder, tmp_path: Path
) -> None:
    made = folder({"job": Work()})
    script = made.path / "jobs" / "job.sh"
    tools = tmp_path / "host-tools"
    tools.mkdir()
    (tools / "flock").symlink_to(shutil.which("flock") or "")
    start = '. "$repx_here/lib.sh"'
    script.write_text(script.read_text().replace(start, f"repx_path='{tools}'\n{start}"))
    bare = tmp_path / "tools"
    bare.mkdir()
    for name in ("bash", "mkdir", "rm", "mv", "sleep", "env"):
        (bare / name).symlink_to(shutil.which(name) or "")

    code, said = made.script("job", PATH=str(bare))

    assert 0 == code
    assert "no flock" not in said
