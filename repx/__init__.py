"""Reproducible experiments on HPC: define, build, visualise, run, analyse."""

__version__ = "0.1.0"
