"""Every runtime has a command line, or refuses with a way out."""

from __future__ import annotations

import pytest

from repx import runtimes
from repx.errors import InputError
from repx.target import RuntimeName

LAUNCH = runtimes.Launch(
    executable="/b/it's $x", out="/b/out", inputs="/b/in.json", parameters="/b/p.json"
)


def test_the_table_of_runtimes_is_total() -> None:
    assert set(RuntimeName) == set(runtimes._RUNTIMES)


def test_native_passes_the_three_paths_of_the_job_contract() -> None:
    expected = ["/b/it's $x", "/b/out", "/b/in.json", "/b/p.json"]
    assert expected == runtimes.argv(RuntimeName.NATIVE, LAUNCH)


@pytest.mark.parametrize("name", [name for name in RuntimeName if name != RuntimeName.NATIVE])
def test_runtimes_to_come_refuse_and_say_what_to_write(name: RuntimeName) -> None:
    with pytest.raises(InputError) as caught:
        runtimes.argv(name, LAUNCH)

    assert f"the runtime '{name}' does not work yet" == caught.value.message
    assert "set `runtime: native` in the target's profile" == caught.value.hint
