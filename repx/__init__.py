"""Reproducible experiments on HPC: define, build, visualise, run, analyse."""

from typing import Final

__version__: Final = "0.1.0"
