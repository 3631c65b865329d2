"""docs/remote.md, command by command, against a private sshd."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.real.place import Place
    from tests.real.sshd import Sshd

pytestmark = [pytest.mark.real, pytest.mark.needs("ssh")]

PAGE: Final = (Path(__file__).parents[2] / "docs" / "remote.md").read_text(encoding="utf-8")
STAGE: Final = {
    "parameters": {"lr": 0.1},
    "outputs": {"table": "$out/table.csv"},
    "run": 'echo 1,2 >"${outputs[table]}"',
}


def commands() -> list[str]:
    """Return the page's command lines, without what is said beside them."""
    lines = re.findall(r"^    (repx .*)$", PAGE, re.MULTILINE)
    return [shlex.join(shlex.split(line, comments=True)) for line in lines]


def test_every_command_of_the_page_works(
    defined: Callable[..., Place], sshd: Sshd, tmp_path: Path
) -> None:
    here = defined({"stages": {"a": STAGE}, "pipelines": {"m": ["a"]}, "runs": {"training": {}}})
    (profile,) = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert "me@login.example.org" in profile
    mine = f"far\n    ssh_config: {sshd.config}"
    profile = profile.replace("me@login.example.org", mine)
    here.write("targets.yaml", profile.replace("~/repx-store", str(here.store)))
    done = []
    for command in commands():
        job = next((path.name for path in here.store.glob("outputs/*-a-*")), "")
        line = command.replace("3k9x2m", job).replace("/data", str(tmp_path))
        done.append(here.repx(*shlex.split(line)[1:]))

    assert len(done) >= 7
    assert "jobs can run on 'workstation'" in done[0]
    assert "1/1 ok" in done[1]
    assert "1,2\n" in done[2]
    assert "added 1 job" in "".join(done)
