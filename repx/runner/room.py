"""The runtime for a unit's program, as an earlier job of the submission found it on this node.

``templates/runtime.sh`` prepares a node and writes the result to a file, one assignment per line.
From then on the runner starts isolated programs itself if no other step is needed before or after.
Otherwise, and for the first program, the job file in bash starts the program.
"""

from __future__ import annotations

import os

from repx.runner import files, jobfile
from repx.runner.jobfile import NeedsShell

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

PLACEHOLDER: Final = b"@"
BOOT: Final = "/proc/sys/kernel/random/boot_id"


class Room:
    """The command for a program in its runtime, and the runner's other facts about the runtime."""

    def __init__(
        self, values: dict[str, bytes | list[bytes]], node: dict[str, bytes | list[bytes]]
    ) -> None:
        """Take the values of a job file and of a node. Raises NeedsShell, KeyError, TypeError."""
        self.runtime, others = _text(node, "runtime"), _text(node, "passed_over")
        root, spared = _text(node, "root"), _text(node, "spared")
        if not spared or (root and not os.path.isdir(root)):
            raise NeedsShell
        self.spared = int(spared)
        self.command = list(_expanded(_words(values, f"in_{self.runtime.decode()}"), node))
        self.members = b',"runtime":"%b"' % self.runtime
        if others:
            import json  # only needed if the target's first runtime does not work

            self.members += b',"passed_over":' + json.dumps(os.fsdecode(others)).encode()


def of(values: dict[str, bytes | list[bytes]], folder: bytes) -> Room:
    """Return the room for a program of the submission ``folder``.

    Raises OSError if this node is not prepared yet, NeedsShell if only bash can start the program.
    """
    host = os.environb.get(b"HOSTNAME") or os.fsencode(os.uname().nodename)  # as in bash
    with open(BOOT, "rb") as stream:
        boot = stream.read().strip().partition(b"-")[0]
    name = b"%b.%b.%b.sh" % (host.replace(b"/", b""), boot, _text(values, "room"))
    node, _ = jobfile.assignments(files.read(os.path.join(folder, b"nodes", name)))
    try:
        return Room(values, node)
    except (KeyError, ValueError):
        raise NeedsShell from None


def _text(values: dict[str, bytes | list[bytes]], name: str) -> bytes:
    value = values[name]
    if isinstance(value, list):
        raise NeedsShell
    return value


def _words(values: dict[str, bytes | list[bytes]], name: str) -> list[bytes]:
    value = values[name]
    if not isinstance(value, list):
        raise NeedsShell
    return value


def _expanded(words: list[bytes], node: dict[str, bytes | list[bytes]]) -> list[bytes]:
    """Return words with each ``@name`` replaced by the node's words; ``@@`` means one ``@``."""
    found: list[bytes] = []
    for word in words:
        if not word.startswith(PLACEHOLDER):
            found.append(word)
        elif word.startswith(PLACEHOLDER * 2):
            found.append(word[1:])
        else:
            found += _words(node, f"at_{word[1:].decode()}")
    return found
