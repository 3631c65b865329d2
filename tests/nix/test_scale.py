"""Cost of evaluation: the same derivations for ten jobs and for many."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.nix.machine import Nix

pytestmark = [pytest.mark.real, pytest.mark.needs("nix")]


def lab(width: int) -> str:
    """Return a Lab of two stages with width squared combinations: twice as many jobs."""
    stage = '{ parameters = [ "x" "y" ]; outputs = { o = "$out/o"; }; run = { ... }: "true"; }'
    after = '{ inputs = [ "o" ]; outputs = { p = "$out/p"; }; run = { ... }: "true"; }'
    pipeline = f"rec {{ a = repx.callStage {stage} [ ]; b = repx.callStage {after} [ a ]; }}"
    values = f"repx.utils.range 1 {width}"
    return (
        'repx.runs2Lab { hostTools = false; containerMode = "none"; runs = [ { name = "r"; '
        f"pipelines = [ {pipeline} ]; parameters = {{ x = {values}; y = {values}; }}; }} ]; }}"
    )


def derivations(nix: Nix, width: int) -> int:
    done = nix.call("nix-instantiate", "-E", nix.lab(lab(width)))
    assert done.returncode == 0, done.stderr
    return len(nix.call("nix-store", "-qR", done.stdout.strip()).stdout.splitlines())


def test_the_number_of_derivations_does_not_grow_with_the_jobs(nix: Nix) -> None:
    assert derivations(nix, 2) == derivations(nix, 200)


def test_a_lab_of_many_jobs_is_built_by_one_process(nix: Nix) -> None:
    built = nix.build(lab(20))

    assert len(os.listdir(built / "jobs")) == 800  # noqa: PTH208  # a Path per job is slow
