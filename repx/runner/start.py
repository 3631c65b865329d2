"""Start the local scheduler: ``python3 -I -S start.py FOLDER ...``.

With ``--worker``, start a worker; with ``--end``, end jobs that no scheduler has.

Any python3 can parse this file, so that an old python3 prints a message instead of a SyntaxError.
The file imports nothing before that, and is not started by module name (``python3 -m``), because
the search for the module would take longer than the rest.
"""

import signal
import sys

signal.signal(signal.SIGINT, signal.SIG_DFL)  # no traceback until the scheduler handles the signal
if sys.version_info < (3, 9):  # noqa: UP036  # this file runs where repx is not installed
    sys.stderr.write(
        "run.sh: python3 (3.9 or newer) is needed to run many jobs; "
        "single ones run with: bash jobs/<job>.sh\n"
    )
    sys.exit(3)
sys.path.insert(0, __file__.rpartition("/repx/runner/")[0])
if sys.argv[1:2] == ["--worker"]:
    from repx.runner import worker

    worker.main(*sys.argv[2:])
elif sys.argv[1:2] == ["--end"]:
    from repx.runner import ending

    sys.exit(ending.main(*sys.argv[2:]))
else:
    from repx.runner import main

    sys.exit(main.main(sys.argv[1:]))
