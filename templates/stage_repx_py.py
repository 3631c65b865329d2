"""The part of repx_py that a Lab carries: ``stage``; the rest where repx is installed."""
# ruff: noqa: INP001  # it is copied to repx_py/__init__.py

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

from repx_py.stage_script import Stage, stage

__all__ = ["Stage", "stage"]


def __getattr__(name: str) -> Any:  # noqa: ANN401  # whatever the installed package has
    """Find every other name in the repx_py that is installed, if any."""
    ours = str(Path(__file__).resolve().parent.parent)
    carried = sys.modules.pop("repx_py")
    sys.path[:] = [path for path in sys.path if path != ours]
    try:
        return getattr(importlib.import_module("repx_py"), name)
    except ImportError:
        sys.modules["repx_py"] = carried
        message = f"module 'repx_py' has no attribute '{name}' here, where repx is not installed"
        raise AttributeError(message) from None
