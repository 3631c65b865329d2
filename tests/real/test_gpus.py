"""GPUs of this machine: each job that asks for some has its own, and its marker says which.

Only names are given, so no GPU is needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from repx.target import Resources
from tests.real.folders import Work
from tests.real.runtime_place import RUNTIMES

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.real.folders import Folder, MakeFolder
    from tests.real.place import Place

pytestmark = pytest.mark.real

_SAY = 'echo "${CUDA_VISIBLE_DEVICES-none}" >"$out/o.txt"\n'
# Each job waits until both run, so neither GPU can be given twice.
_TOGETHER = _SAY + (
    "other=../../$(case $PWD in */a/out) echo b ;; *) echo a ;; esac)/out/o.txt\n"
    "for _ in {1..600}; do [[ ! -s $other ]] || exit 0; sleep 0.05; done; exit 1\n"
)


def _asking(gpus: int, body: str, retries: int = 0) -> Work:
    return Work(body=body, resources=Resources(slurm={"gpus": gpus}), retries=retries)


def _said(made: Folder, job: str) -> str:
    return (made.home(job) / "out/o.txt").read_text().strip()


def test_jobs_side_by_side_have_different_gpus(folder: MakeFolder) -> None:
    made = folder({"a": _asking(1, _TOGETHER), "b": _asking(1, _TOGETHER), "c": Work(body=_SAY)})

    assert 0 == made.agent("--gpus", "2", "--cpus", "4", CUDA_VISIBLE_DEVICES="5,7")[0]

    assert ["5", "7"] == sorted(_said(made, job) for job in "ab")
    assert "5,7" == _said(made, "c")  # a job that asks for none sees what the user sees
    for job in "ab":
        marker = made.marker(job, "SUCCESS")
        assert (1, _said(made, job)) == (marker["gpus"], marker["devices"])
    assert "gpus" not in made.marker("c", "SUCCESS")


def test_a_job_that_is_tried_again_in_bash_has_its_gpus_too(folder: MakeFolder) -> None:
    tried = '[[ -e "${out%/out}/tried" ]] || { touch "${out%/out}/tried"; exit 3; }\n'
    again = f'{_SAY}env >"$out/env"\n{tried}'
    made = folder({"a": _asking(2, again, retries=1)})

    assert 0 == made.agent("--devices", "4,GPU-5f3c,6")[0]

    assert "4,GPU-5f3c" == _said(made, "a")
    seen = (made.home("a") / "out/env").read_text()
    assert "CUDA_DEVICE_ORDER=PCI_BUS_ID" in seen
    assert "REPX_GPUS" not in seen
    marker = made.marker("a", "SUCCESS")
    assert (2, 2, "4,GPU-5f3c") == (marker["attempt"], marker["gpus"], marker["devices"])


def test_where_no_gpu_is_known_the_marker_says_so(folder: MakeFolder) -> None:
    made = folder({"a": _asking(1, _SAY), "b": _asking(1, "exit 3\n")})

    assert 1 == made.agent("--keep-going", CUDA_VISIBLE_DEVICES="")[0]

    assert (1, None) == tuple(made.marker("a", "SUCCESS")[key] for key in ("gpus", "devices"))
    assert (1, None) == tuple(made.marker("b")[key] for key in ("gpus", "devices"))


@pytest.mark.needs("images")
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_an_isolated_job_is_told_its_gpus(isolated: Callable[..., Place], runtime: str) -> None:
    lab = {
        "stages": {name: {"outputs": {"o": "$out/o.txt"}, "run": _SAY} for name in ("one", "two")},
        "pipelines": {"p": ["one"], "q": ["two"]},
        "runs": {"r": {"pipelines": ["p", "q"]}},
    }
    rules = [{"stage": "one", "gpus": 1}, {"stage": "two", "gpus": "a100:2"}]
    local = {"gpus": [3, 4], "jobs": 1}
    here = isolated(lab, runtime, local=local, resources={"rules": rules})
    here.repx("run", env={"CUDA_VISIBLE_DEVICES": "0"})

    assert ["3\n"] == here.output("*-one-*/out/o.txt")
    assert ["3,4\n"] == here.output("*-two-*/out/o.txt")
