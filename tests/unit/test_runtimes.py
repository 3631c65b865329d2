"""The command line that starts a job's program."""

from __future__ import annotations

from repx import runtimes
from repx.launch import Launch
from repx.target import RuntimeName

LAUNCH = Launch(
    phase="main",
    executable="/b/it's $x",
    folder="/b",
    inputs_file="/b/in.json",
    parameters_file="/b/p.json",
    inputs={},
    outputs={},
)


def test_native_passes_the_three_paths_of_the_job_contract() -> None:
    prepared = runtimes.prepared(RuntimeName.NATIVE, LAUNCH)

    assert ("/b/it's $x", "/b/out", "/b/in.json", "/b/p.json") == prepared.run
    assert prepared.inherits_lock
