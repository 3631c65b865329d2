"""Options in ``sbatch_opts`` that are keys of repx, too, count as these keys."""

from __future__ import annotations

import pytest

from repx.config.sbatch_keys import as_keys
from repx.target import Resources

GIB = 1 << 30


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        ("--time=90", Resources(time_s=5400)),
        ("-t 1-12", Resources(time_s=129_600)),
        ("--part=main", Resources(partition="main")),
        ("--mem=4G", Resources(mem_bytes=4 * GIB)),
        ("--mem=4096", Resources(mem_bytes=4 * GIB)),
        ("--mem-per-cpu=1G", Resources(mem_per_cpu=GIB)),
        ("--mem-per-gpu 2GB", Resources(mem_per_gpu=2 * GIB)),
        ("-c4", Resources(cpus=4)),
        ("-pmain", Resources(partition="main")),
        ("--partition=a,b", Resources(partition="a,b")),
        ("--mem=1G --mem-per-cpu=1G", Resources(mem_per_cpu=GIB)),
    ],
)
def test_an_option_with_a_key_is_that_key(words: str, asked: Resources) -> None:
    assert asked == as_keys(Resources(sbatch_opts=(words,)))


@pytest.mark.parametrize(
    "words",
    [
        *("--time=UNLIMITED", "--mem=0", "--account='my project'", "--time", "--array=1-5"),
        *("--nice", "script.sh", "--mem=lots", ""),
    ],
)
def test_what_no_key_can_have_stays(words: str) -> None:
    resources = Resources(sbatch_opts=(words,))

    assert resources == as_keys(resources)


def test_other_options_stay_and_options_win() -> None:
    words = ("--time=10 --account='my project'", "--overcommit", "--nice=5")
    given = Resources(time_s=3600, mem_bytes=GIB, sbatch_opts=words)

    found = as_keys(given)

    left = ("'--account=my project'", "--overcommit", "--nice=5")
    assert Resources(time_s=600, mem_bytes=GIB, sbatch_opts=left) == found
    assert found == as_keys(found)
