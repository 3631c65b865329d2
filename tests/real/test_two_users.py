"""Two users of one store: what one keeps to himself stops nobody else."""

from __future__ import annotations

import os
import shutil
import traceback
from typing import TYPE_CHECKING

import pytest

from repx import console, store, submissions
from repx.schedulers import queue

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.real.place import Place

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root to be two users"),
]
NOBODY = 65534


def test_a_submission_that_cannot_be_read_is_named_and_passed_over(
    defined: Callable[..., Place], capfd: pytest.CaptureFixture[str]
) -> None:
    """The other user's folder is looked at as an ordinary user, within this process."""
    stage = {"outputs": {"x": "$out/x"}, "run": 'echo hi >"${outputs[x]}"'}
    here = defined({"stages": {"a": stage}, "pipelines": {"m": ["a"]}, "runs": {"r": {}}})
    here.repx("run")
    private = here.store / "submissions" / "20200101-000000-000001"
    shutil.copytree(next((here.store / "submissions").iterdir()), private)
    private.chmod(0o700)
    for folder in list(here.store.parents)[:-2]:  # pytest keeps its folders to itself
        folder.chmod(0o755)
    code = (
        f"import os; os.setgid({NOBODY}); os.setuid({NOBODY})\n"
        "console.listen()\n"
        f"there = store.local({str(here.store)!r})\n"
        "assert {} == queue.reported(there)\n"
        "assert {} == submissions.plan(there, '20200101-000000-000001')\n"
        "assert [] == queue.logs(there, 'job')\n"
    )
    assert 0 == _run(code), capfd.readouterr().err
    said = capfd.readouterr().err
    assert 1 == said.count(f"cannot read {private}: Permission denied; passed over")


def _run(code: str) -> int:
    """Run code in a child: what was imported here stays readable there."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            # Other users may be unable to read what is not imported yet.
            known = {"console": console, "queue": queue, "store": store, "submissions": submissions}
            exec(code, known)  # noqa: S102  # the test's own text
            status = 0
        except BaseException:  # noqa: BLE001  # told by the exit code
            traceback.print_exc()
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
