"""The part of repx_py that a Lab carries: ``stage``; the rest where repx is installed."""
# ruff: noqa: INP001  # it is copied to repx_py/__init__.py

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from repx_py.stage_script import Stage, stage

__all__ = ["Stage", "stage"]


class _Models(ModuleType):
    """``repx_py.models``, where RepX 0.5 keeps the same names."""

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  # as below
        return getattr(sys.modules["repx_py"], name)


sys.modules["repx_py.models"] = _Models("repx_py.models")


def __getattr__(name: str) -> Any:  # noqa: ANN401  # whatever the installed package has
    """Find every other name in the repx_py that is installed.

    Raises ImportError when there is none: ``from repx_py import Lab`` shows its message, where
    that of an AttributeError would be lost.
    """
    if name.startswith("_"):  # Python and its tools look for these themselves
        raise AttributeError(f"module 'repx_py' has no attribute '{name}'")
    ours = str(Path(__file__).resolve().parent.parent)
    carried = sys.modules.pop("repx_py")
    sys.path[:] = [path for path in sys.path if path != ours]
    try:
        return getattr(importlib.import_module("repx_py"), name)
    except ImportError:
        sys.modules["repx_py"] = carried
        raise ImportError(
            f"'{name}' of repx_py needs repx in the Python that runs this stage:"
            f" `{sys.executable} -m pip install repx-hpc`; without it there is only `stage`",
            name="repx",
        ) from None
