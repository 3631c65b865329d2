"""The members that the contract suites are run on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from repx import places
from repx.target import Target

if TYPE_CHECKING:
    from collections.abc import Iterator

    from repx.places import Place
    from tests.real.sshd import Sshd


@pytest.fixture(
    params=["here", pytest.param("ssh", marks=[pytest.mark.slow, pytest.mark.needs("ssh")])]
)
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    """Return each place in turn; its files lie on this machine, where a test can look."""
    if request.param == "here":
        yield places.of(Target(name="here", base_path="/"))
        return
    sshd: Sshd = request.getfixturevalue("sshd")
    far = places.of(Target(name="there", base_path="/", address="far", ssh_config=str(sshd.config)))
    yield far
    far.close()
