"""`repx targets` as a user types it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow  # each starts a process

FILE = """
default: here
targets:
  here: {base_path: store}
  cluster: {base_path: "${NOWHERE}/store", scheduler: slurm, runtime: [bwrap, native]}
  far: {base_path: /store, address: me@login, ssh_config: /dev/null}
  full: {base_path: /proc/store}
"""
NOWHERE = "targets.yaml:5:13: base_path: the variable ${NOWHERE} is not set here"


def repx(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in a folder whose targets.yaml is FILE."""
    (folder / "targets.yaml").write_text(FILE)
    return subprocess.run(
        [sys.executable, "-m", "repx", "targets", *arguments],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "HOME": str(folder), "PYTHONPATH": ":".join(sys.path)},
        text=True,
        check=False,
        capture_output=True,
    )


def test_list_names_every_profile_and_what_hinders_it(tmp_path: Path) -> None:
    done = repx(tmp_path)

    assert (0, "from targets.yaml\n") == (done.returncode, done.stderr)
    assert [
        f"here\tlocal\tnative\t{tmp_path}/store\t-\tdefault",
        f"cluster\tslurm\tbwrap, native\t-\t-\t{NOWHERE}",
        "far\tlocal\tnative\t/store\tme@login\t",
        "full\tlocal\tnative\t/proc/store\t-\t",
    ] == done.stdout.splitlines()


def test_list_for_machines(tmp_path: Path) -> None:
    here, cluster, *_ = json.loads(repx(tmp_path, "--json").stdout)

    assert {
        "name": "here",
        "default": True,
        "scheduler": "local",
        "runtimes": ["native"],
        "base_path": f"{tmp_path}/store",
        "address": None,
        "problems": [],
    } == here
    assert cluster["base_path"] is None
    assert len(cluster["problems"]) == 1


def test_check_of_a_target_that_works(tmp_path: Path) -> None:
    done = repx(tmp_path, "check")

    assert (0, "jobs can run on 'here', scheduled by local, in runtime native\n") == (
        done.returncode,
        done.stderr,
    )
    assert f"store\t{tmp_path}/store\tok\t" in done.stdout
    assert not (tmp_path / "store").exists()


def test_check_of_a_target_that_does_not_work(tmp_path: Path) -> None:
    done = repx(tmp_path, "check", "full")
    told = json.loads(repx(tmp_path, "check", "full", "--json").stdout)

    assert done.returncode == 3
    assert "error: store /proc/store: /proc/.repx-probe" in done.stderr
    assert told["usable"] is False


def test_check_of_what_cannot_be_tried(tmp_path: Path) -> None:
    far, broken, unknown = (repx(tmp_path, "check", name) for name in ("far", "cluster", "her"))

    assert [3, 2, 2] == [done.returncode for done in (far, broken, unknown)]
    assert "error: cannot reach me@login: " in far.stderr
    assert "the variable ${NOWHERE} is not set here" in broken.stderr
    assert "hint: did you mean 'here'?" in unknown.stderr
