"""The table of sbatch's options beside the sbatch of this machine; no cluster is needed."""

from __future__ import annotations

import re
import string
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from repx.config import sbatch
from repx.config.sbatch import Takes

pytestmark = pytest.mark.needs("sbatch")


@pytest.fixture
def said(tmp_path: Path) -> Callable[[str], str]:
    """Return what sbatch says to a word and a script of no content, which it never submits."""
    conf = tmp_path / "slurm.conf"
    conf.write_text("ClusterName=none\nSlurmctldHost=localhost\n")

    def say(word: str) -> str:
        done = subprocess.run(
            ["sbatch", word],
            env={"SLURM_CONF": str(conf), "PATH": "/usr/bin:/bin"},
            input="",
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        return done.stderr

    return say


def test_every_long_option_is_in_the_table(said: Callable[[str], str]) -> None:
    """To one letter sbatch answers with all names that begin with it, or takes the only one."""
    names = {
        name
        for letter in string.ascii_lowercase
        for name in re.findall(r"'--([a-z-]{2,})'", said(f"--{letter}"))
    }

    assert len(names) > 80
    assert names <= {option.name for option in sbatch.OPTIONS}


def test_short_options_and_values_are_those_of_sbatch(said: Callable[[str], str]) -> None:
    shorts = {each.short: each for each in sbatch.OPTIONS if each.short}
    for letter in string.ascii_letters:
        answer = said(f"-{letter}")
        assert (letter in shorts) == ("invalid option" not in answer), letter
        if letter in shorts:
            needs = shorts[letter].takes is Takes.VALUE
            assert needs == ("requires an argument" in answer), letter
    for option in sbatch.OPTIONS:
        answer = said(f"--{option.name}")
        if "unrecognized option" not in answer and "ambiguous" not in answer:  # of this version
            needs = option.takes is Takes.VALUE
            assert needs == ("requires an argument" in answer), option
