"""Attacks on repx, counted: `make campaign` prints one table, campaign/README.md explains it."""
