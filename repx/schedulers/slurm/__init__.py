"""Slurm: a plan as job arrays and bundles, and what the queue tells of them."""
