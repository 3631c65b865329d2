"""A Lab with an image in each runtime there is: what its jobs see, what they may, how they end."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tests import image_labs
from tests.real.runtime_place import RUNTIMES, UNPRIVILEGED, run_as_user

if TYPE_CHECKING:
    from tests.real.place import Place

pytestmark = pytest.mark.needs("images")

# `make` gives two outputs, of which `use` declares one as its input.
LOOK = """
cat "${inputs[table]}" >"$out/table.csv"
{
  id -u; hostname; pwd; echo "$HOME"; echo "${OMP_NUM_THREADS-}"; echo "${LEAKED-}"
} >"$out/seen"
ls -A /tmp >"$out/tmp"
env | sed 's/=.*//' | grep -v ^REPX_ | sort >"$out/variables"
cat /etc/flavour >"$out/flavour"
"""


def chain(use: str, **stage: object) -> dict[str, object]:
    """Return a Lab of two stages, where the second one runs some bash."""
    return {
        "stages": {
            "make": {
                "outputs": {"table": "$out/table.csv", "other": "$out/other.csv"},
                "run": 'echo 1,2 >"$out/table.csv"; echo secret >"$out/other.csv"',
            },
            "use": {
                "inputs": ["table"],
                "outputs": {"seen": "$out/seen"},
                "run": use,
                **stage,
            },
        },
        "pipelines": {"p": {"make": [], "use": ["make"]}},
        "runs": {"r": {"pipelines": ["p"]}},
    }


HOME = "/tmp"  # noqa: S108  # the job's own
FLAVOUR = image_labs.layer({"etc/": "", "etc/flavour": "from the image\n"})


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_job_sees_its_image_its_inputs_and_its_own_variables(
    isolated: Callable[..., Place], runtime: str
) -> None:
    layers = [image_labs.shell_layer(), FLAVOUR]
    here = isolated(chain(LOOK), runtime, layers, environment={"OMP_NUM_THREADS": 3})

    here.repx("run", "--trust", env={"LEAKED": "from the user's shell"})

    (out,) = here.store.glob("outputs/*-use-*/out")
    assert "1,2\n" == (out / "table.csv").read_text()
    assert "from the image\n" == (out / "flavour").read_text()
    inside = 1000 if (runtime, os.getuid()) == ("charliecloud", 0) else os.getuid()
    assert [str(inside), "repx", str(out), HOME, "3", ""] == (
        (out / "seen").read_text().splitlines()
    )
    # The store of a test lies below /tmp.
    assert {here.store.parts[2]} == set((out / "tmp").read_text().split())
    assert os.getuid() == (out / "seen").stat().st_uid
    ours = {"HOME", "PATH", "TERM", "OMP_NUM_THREADS"}
    shells = {"PWD", "SHLVL", "_", "OLDPWD", "HOSTNAME", "CH_RUNNING", "out"}
    stage = {"inputs_json", "parameters_json", "container"}
    assert set((out / "variables").read_text().split()) <= ours | shells | stage
    (node,) = here.store.glob("submissions/*/nodes/*.sh")
    assert f"repx_runtime='{runtime}'\n" in node.read_text()


@pytest.mark.parametrize("runtime", UNPRIVILEGED)
def test_an_ordinary_user_gets_the_same(isolated: Callable[..., Place], runtime: str) -> None:
    here = isolated(chain(LOOK), runtime, [image_labs.shell_layer(), FLAVOUR])

    done = run_as_user(here)

    assert 0 == done.returncode, done.stderr
    (out,) = here.store.glob("outputs/*-use-*/out")
    assert "1,2\n" == (out / "table.csv").read_text()
    assert "from the image\n" == (out / "flavour").read_text()
