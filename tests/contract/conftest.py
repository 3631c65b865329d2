"""The members that the contract suites are run on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from repx.places import here

if TYPE_CHECKING:
    from repx.places import Place


@pytest.fixture(params=["here"])
def place(request: pytest.FixtureRequest) -> Place:
    """Return each place in turn; its files lie on this machine, where a test can look."""
    del request
    return here.HERE
