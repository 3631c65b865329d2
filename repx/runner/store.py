"""The markers of jobs below ``base``, and what they mean for one plan."""

from __future__ import annotations

import json
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Final

MARKER_BYTES: Final = 4096  # a block, which is what the smallest file takes


class Store:
    """The outputs of a store, looked at for one plan."""

    def __init__(self, base: str, plan_path: str) -> None:
        """Look at the store at ``base``. Raises OSError when there is no plan."""
        self.outputs = f"{base}/outputs"
        self.plan_time_ns = os.stat(plan_path).st_mtime_ns

    def record(self, job: str, part: str = "") -> str:
        """Return the folder of a job's own files, or of a part of it (``scatter/``)."""
        return f"{self.outputs}/{job}/{part}repx"

    def succeeded(self, record: str, *, forced: bool) -> bool:
        """Tell whether there is a success, and if ``forced`` one after the plan was made."""
        try:
            made = os.stat(f"{record}/SUCCESS").st_mtime_ns
        except OSError:
            return False
        return not forced or made > self.plan_time_ns

    def kept(self, task: dict[str, Any]) -> Callable[[str, int], bool]:
        """Return a function that tells whether a step of a task's branch has succeeded."""

        def kept(unit: str, branch: int) -> bool:
            record = self.record(task["job"], f"branch-{branch}/{unit}/")
            return self.succeeded(record, forced=task["forced"])

        return kept

    def failure(self, record: str) -> str:
        """Return why the FAIL marker says that the last attempt failed."""
        try:
            with open(f"{record}/FAIL", encoding="utf-8") as stream:
                return str(json.load(stream)["reason"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return ""

    def branches(self, job: str) -> int:
        """Return how many branches scatter made. Raises OSError, ValueError, KeyError."""
        with open(f"{self.record(job, 'scatter/')}/SUCCESS", encoding="utf-8") as stream:
            return int(json.load(stream)["branches"])

    def full(self) -> bool:
        """Tell whether there is no room for so much as a marker."""
        space = os.statvfs(self.outputs)
        no_inodes = space.f_files and not space.f_ffree  # some file systems count none
        return bool(no_inodes) or space.f_bavail * space.f_frsize < MARKER_BYTES
