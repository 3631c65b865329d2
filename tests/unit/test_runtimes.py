"""The command line that starts a job's program."""

from __future__ import annotations

from repx import runtimes
from repx.target import RuntimeName

LAUNCH = runtimes.Launch(
    executable="/b/it's $x", out="/b/out", inputs="/b/in.json", parameters="/b/p.json"
)


def test_native_passes_the_three_paths_of_the_job_contract() -> None:
    expected = ["/b/it's $x", "/b/out", "/b/in.json", "/b/p.json"]
    assert expected == runtimes.argv(RuntimeName.NATIVE, LAUNCH)
