"""Accounts as they are: every login shell, banners, bare PATHs, old pythons, ordinary users."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from repx import places
from repx.target import Target
from tests.real import accounts
from tests.real.people import PYTHON

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.real.people import People
    from tests.real.place import Place

pytestmark = [pytest.mark.real, pytest.mark.needs("ssh")]

LAB: Final = {
    "stages": {
        "a": {"outputs": {"x": "$out/x"}, "run": 'id -un >"${outputs[x]}"; echo "$PATH"'},
    },
    "pipelines": {"m": ["a"]},
    "runs": {"r": {}},
}


@pytest.mark.needs("shells")
@pytest.mark.parametrize("shell", accounts.STARTS)
def test_any_login_shell_with_a_banner_will_do(shell: str) -> None:
    with accounts.account(shell) as there:
        target = Target(
            name="t",
            base_path='~/it\'s "${USER}"',
            node_local_path="${HOME}/node",
            mount_paths=("~/data:ro",),
            address="far",
            ssh_config=str(there.sshd.config),
        )
        with contextlib.closing(places.of(target)) as far:
            assert f'{there.home}/it\'s "{there.name}"' == far.root
            settled = far.settled(target)
            assert f"{there.home}/node" == settled.node_local_path
            assert (f"{there.home}/data:ro",) == settled.mount_paths
            assert there.name == far.user
            assert f"{there.name}\n" == far.run(["id", "-un"]).stdout
            assert "said\n" == far.run(["bash", "-c", "echo said"]).stdout
            far.files(far.root).write_many([("a b/c'd", 0o644, b"x", "")])
            log = f"{there.home}/log"
            process = far.spawn(["echo", "two words"], output=log, cwd="/", more_env={})
            while process.poll() is None:
                process.rest(0)
    assert not there.home.exists()


def test_an_account_without_home_in_its_environment_has_the_usual_one() -> None:
    with accounts.account("dash", "SetEnv HOME=") as there:
        for base in ("~/store", "${HOME}/store"):
            target = Target(
                name="t", base_path=base, address="far", ssh_config=str(there.sshd.config)
            )
            with contextlib.closing(places.of(target)) as far:
                assert f"{there.home}/store" == far.root


def test_an_ordinary_user_runs_jobs_at_an_ordinary_account(people: People) -> None:
    """From the project to the results; the client's user is not root either."""
    with accounts.account("bash") as there:
        me = people.person(there.uid)
        for file in ("client", "known_hosts", "ssh_config"):
            shutil.copy(there.sshd.folder / file, me.home / file)
            shutil.chown(me.home / file, there.uid)
        config = me.home / "ssh_config"
        config.write_text(config.read_text().replace(f"{there.sshd.folder}/", f"{me.home}/"))
        project = me.project(
            LAB, base_path="~/a store's", address="far", ssh_config=str(me.home / "ssh_config")
        )

        assert "connected to far" in me.repx("connect", cwd=project)
        assert "jobs can run on 'here'" in me.repx("targets", "check", cwd=project)
        assert "1/1 ok" in me.repx("run", cwd=project)
        assert "succeeded" in me.repx("status", cwd=project)
        (made,) = (there.home / "a store's").glob("outputs/*/out/x")
        assert (f"{there.name}\n", there.uid) == (made.read_text(), made.stat().st_uid)
        assert "1 job" in me.repx("pull", cwd=project)
        assert there.sshd.logins == 1
        me.repx("connect", "--close", cwd=project)


OLD: Final = """#!/bin/sh
# What Python 3.6 lacks and later versions have; $4 is the code that `-c` names.
exec {python} -S -u -c '
import sys, os, signal, shlex, subprocess, ast
code = sys.argv.pop(1)
sys.version_info = (3, {minor}, 8, "final", 0)
for module, names in ((os, ("pidfd_open", "memfd_create", "waitstatus_to_exitcode", "posix_spawn")),
                      (signal, ("pidfd_send_signal", "raise_signal")), (shlex, ("join",))):
    for name in names:
        if hasattr(module, name):
            delattr(module, name)
sys.argv[:] = ["-c"]
exec(code)' "$4"
"""


@contextlib.contextmanager
def old_python(*more: str, minor: int = 6) -> Iterator[str]:
    """Give a line for sshd: sessions find a python3 that is 3.6, or so, and what else is named."""
    with tempfile.TemporaryDirectory(prefix="repx-old-python-") as folder:
        tools = Path(folder)
        tools.chmod(0o755)
        (tools / "python3").write_text(OLD.format(python=PYTHON, minor=minor))
        (tools / "python3").chmod(0o755)
        for name in more:
            (tools / name).symlink_to(PYTHON)
        for name in ("bash", "sh", "env", "cat", "id", "sleep", "mkdir", "rm", "mv", "flock"):
            (tools / name).symlink_to(shutil.which(name) or "")
        yield f"SetEnv PATH={tools}"


@pytest.mark.parametrize("newer", [False, True], ids=["3.6 only", "and a newer one"])
def test_a_login_node_with_python_3_6(defined: Callable[..., Place], *, newer: bool) -> None:
    """Looking works; the local scheduler takes a newer one, or says what it needs."""
    here = defined(LAB)
    names = ["python3.11"] if newer else []
    with old_python(*names) as line, accounts.account("dash", line) as there:
        here.use(base_path=f"{there.home}/store", address="far", ssh_config=str(there.sshd.config))
        assert "pending" in here.repx("status")
        if newer:
            assert "1/1 ok" in here.repx("run")
        else:
            said = here.repx("run", code=3)
            assert "python3 on far is 3.6; the local scheduler needs 3.9 or newer there" in said
            assert "hint: " in said
            assert not (there.home / "store").exists()


def test_a_python_that_is_too_old_to_look_is_named(defined: Callable[..., Place]) -> None:
    here = defined(LAB)
    with old_python(minor=5) as line, accounts.account("dash", line) as there:
        here.use(base_path=f"{there.home}/store", address="far", ssh_config=str(there.sshd.config))
        said = here.repx("status", code=3)
    assert "error: python3 is 3.5, which is too old, on far" in said
    assert "python3 (3.6 or newer)" in said
