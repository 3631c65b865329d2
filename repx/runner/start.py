"""Start the local scheduler: ``python3 -I -S start.py FOLDER ...``.

With ``--worker``, start a worker; with ``--end``, end jobs that no scheduler has.

Any python3 can parse this file, so that an old python3 prints a message instead of a SyntaxError.
The file imports nothing before that, and is not started by module name (``python3 -m``), because
the search for the module would take longer than the rest.
"""

import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

signal.signal(signal.SIGINT, signal.SIG_DFL)  # no traceback until the scheduler handles the signal
if sys.version_info < (3, 9):  # noqa: UP036  # this file runs where repx is not installed
    sys.stderr.write(
        "run.sh: python3 (3.9 or newer) is needed to run many jobs; "
        "single ones run with: bash jobs/<job>.sh\n"
    )
    sys.exit(3)
sys.path.insert(0, __file__.rpartition("/repx/runner/")[0])


def load(name: str) -> "Any":  # noqa: ANN401  # a module
    """Return a module of the runner.

    On a full disk Python keeps bytecode of which only a part was written, and cannot read it
    (EOFError). It is removed, and the module is compiled again.
    """
    try:
        return __import__("repx.runner." + name, fromlist=["main"])
    except EOFError:
        import contextlib
        import os

        cache = os.path.join(os.path.dirname(__file__), "__pycache__")
        for each in os.listdir(cache):
            with contextlib.suppress(OSError):  # another runner was faster
                os.unlink(os.path.join(cache, each))
        sys.dont_write_bytecode = True  # the disk may still be full
        for each in [each for each in sys.modules if each.startswith("repx.")]:
            del sys.modules[each]
        return __import__("repx.runner." + name, fromlist=["main"])


if sys.argv[1:2] == ["--worker"]:
    load("worker").main(*sys.argv[2:])
elif sys.argv[1:2] == ["--end"]:
    sys.exit(load("ending").main(*sys.argv[2:]))
else:
    sys.exit(load("main").main(sys.argv[1:]))
