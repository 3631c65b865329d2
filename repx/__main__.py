"""Run ``python -m repx`` as ``repx``."""

from repx.cli import main

main()
