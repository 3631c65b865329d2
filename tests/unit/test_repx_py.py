"""The face ``repx_py``: every name it promises, at no cost until it is used."""

from __future__ import annotations

import subprocess
import sys

import pytest

import repx_py


@pytest.mark.parametrize("name", repx_py.__all__)
def test_every_name_exists(name: str) -> None:
    assert name in dir(repx_py)
    assert getattr(repx_py, name) is not None


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Labb'"):
        _ = repx_py.Labb


@pytest.mark.slow
def test_import_costs_nothing_until_a_name_is_used() -> None:
    """A stage imports it in each of 100,000 jobs."""
    code = "import sys, repx_py; print(sorted(m for m in sys.modules if m.startswith('repx')))"

    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout

    assert loaded.strip() == "['repx_py']"
