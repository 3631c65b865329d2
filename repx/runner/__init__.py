"""Runs a submission folder on a target: the local scheduler and its workers.

These modules import only Python's own library, 3.9 or newer. They are sent to a store once, as one
folder named by its content, and started there by ``run.sh`` and by bundles: start.py.
"""
