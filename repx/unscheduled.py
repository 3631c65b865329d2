"""Jobs that run without a scheduler: started by hand, or their scheduler was killed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from repx import runner_code, seen, transfer
from repx.errors import SchedulerError
from repx.schedulers import queue
from repx.status import ALIVE

if TYPE_CHECKING:
    from collections.abc import Collection

    from repx.model import JobId
    from repx.store import Store

_AT_ONCE: Final = 500  # job ids in one command line
_END_S: Final = 600


def end(store: Store, jobs: Collection[JobId] | None) -> int:
    """End the jobs, by default all, that run without a scheduler; return their number.

    Such jobs were started by hand, or their scheduler was killed. Ends jobs on the machine of the
    store. Raises SchedulerError naming the processes that cannot be ended.
    """
    then = seen.look(store, jobs or (), queue.foreseen(store))
    alive = {job for job, said in queue.reported(then).items() if said.state in ALIVE}
    started = then.started() if jobs is None else then.started().intersection(jobs)
    marked = then.markers(started)
    asked = sorted(started - alive - marked.keys())
    ended = 0
    for first in range(0, len(asked), _AT_ONCE):
        transfer.send_runner(store)
        start = runner_code.start(store.root)
        words = (store.place.python, "-I", "-S", start, "--end", store.root)
        done = store.place.run(
            [*words, *asked[first : first + _AT_ONCE]], timeout_s=_END_S, check=False
        )
        ended += len(done.stdout.splitlines())
        if done.code:
            raise SchedulerError(done.stderr.strip() or "the jobs cannot be ended")
    return ended
