"""The markers of jobs below ``base``, interpreted for one plan."""

from __future__ import annotations

import json
import os

from repx.runner import marks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Final

MARKER_BYTES: Final = 4096  # one block, the space of the smallest file


class Store:
    """The outputs of a store, read for one submission."""

    def __init__(self, base: str, submission: str) -> None:
        """Read the store at ``base`` for a submission with the id of plan.json."""
        self.outputs = f"{base}/outputs"
        own = submission.partition("/")[0]  # a bundle's id has a second part
        self.ours = b'"submission":"%b"' % own.encode()

    def record(self, job: str, part: str = "") -> str:
        """Return the folder of a job's own files, or of a part of it (``scatter/``)."""
        return f"{self.outputs}/{job}/{part}repx"

    def succeeded(self, job: str, part: str = "", *, forced: bool) -> bool:
        """Tell whether a job or part has succeeded, if ``forced`` in this submission."""
        try:
            said = marks.success(self.record(job, part))
        except OSError:
            return False
        return said is not None and (not forced or self.ours in said)

    def kept(self, task: dict[str, Any]) -> Callable[[str, int], bool]:
        """Return a function that tells whether a step of a task's branch has succeeded."""

        def kept(unit: str, branch: int) -> bool:
            part = f"branch-{branch}/{unit}/"
            return self.succeeded(task["job"], part, forced=task["forced"])

        return kept

    def has_marker(self, job: str) -> bool:
        """Tell whether a job has a marker of either kind."""
        failed = os.access(f"{self.record(job)}/FAIL", os.F_OK)
        return failed or self.succeeded(job, forced=False)

    def failure(self, record: str) -> str:
        """Return the reason in the FAIL marker, or an empty text."""
        try:
            with open(f"{record}/FAIL", encoding="utf-8") as stream:
                return str(json.load(stream)["reason"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return ""

    def branches(self, job: str) -> int:
        """Return the number of branches that scatter made.

        Raises OSError, ValueError, KeyError, TypeError.
        """
        said = marks.success(self.record(job, "scatter/"))
        try:
            count = int(json.loads(said or b"")["branches"])
        except RecursionError:
            raise ValueError("nested too deeply") from None
        if count and not os.path.exists(
            f"{self.record(job, f'branch-{count - 1}/')}/work_item.json"
        ):
            raise ValueError(f"there is no branch {count - 1}")
        return count

    def full(self) -> bool:
        """Tell whether the disk has no room even for a marker."""
        space = os.statvfs(self.outputs)
        no_inodes = space.f_files and not space.f_ffree  # some file systems do not count inodes
        return bool(no_inodes) or space.f_bavail * space.f_frsize < MARKER_BYTES
