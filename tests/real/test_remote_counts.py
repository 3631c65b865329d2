"""What 3,001 jobs cost over a connection: round trips and bytes, whatever the link's latency."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.real.place import Place
    from tests.real.sshd import Sshd

pytestmark = [pytest.mark.real, pytest.mark.needs("ssh")]

JOBS: Final = 3_001
LAB: Final = {
    "stages": {
        "a": {"parameters": {"n": 0}, "outputs": {"x": "$out/x"}, "run": 'echo >"${outputs[x]}"'}
    },
    "pipelines": {"m": ["a"]},
    "runs": {"r": {"parameters": {"n": {"range": [1, JOBS]}}}},
}
# Bytes for each job: its id, asked and answered; its script, and its line in the plan.
LOOK_BYTES: Final = 150
SUBMIT_BYTES: Final = 3_500
# The far end's own code and what does not depend on the number of jobs.
FIXED_BYTES: Final = 100_000


def cost(here: Place, *words: str) -> tuple[list[str], int]:
    """Return what a command asked of the other machine, and the bytes that went either way."""
    said = here.repx(*words, "-vv")
    *_, (sent, received) = re.findall(r"(\d+) bytes sent, (\d+) received", said)
    return re.findall(r"round trip \d+: (\w+)", said), int(sent) + int(received)


def test_round_trips_and_bytes_of_a_big_lab(defined: Callable[..., Place], sshd: Sshd) -> None:
    here = defined(LAB)
    here.use(address="far", ssh_config=str(sshd.config), local={"jobs": 1})

    asked, size = cost(here, "run", "--detach")
    assert len(asked) <= 12, asked
    assert size < FIXED_BYTES + JOBS * SUBMIT_BYTES
    asked, size = cost(here, "cancel", "--all")
    assert len(asked) <= 15, asked
    here.wait_until(lambda: "running" not in here.states().values())

    for job in json.loads(here.repx("list", "jobs", "--json")):
        record = here.store / "outputs" / job["id"] / "repx"
        record.mkdir(parents=True, exist_ok=True)
        (record / "FAIL").unlink(missing_ok=True)
        (record / "SUCCESS").write_text('{"outcome":"success"}\n')
    asked, size = cost(here, "status")
    assert ["look"] == asked
    assert size < FIXED_BYTES + JOBS * LOOK_BYTES
    asked, size = cost(here, "run")
    assert len(asked) <= 4, asked
    assert size < FIXED_BYTES + JOBS * LOOK_BYTES
