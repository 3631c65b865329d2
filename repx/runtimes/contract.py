"""What a runtime is, and what it is told of the place that a program runs in. Data only."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from repx.launch import Launch
    from repx.target import Resources

PLACEHOLDER: Final = "@"
HOME: Final = "/tmp"  # noqa: S108  # inside an isolated runtime, where it is the job's alone
HOSTNAME: Final = "repx"
SYSTEM_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """A path of the node that a program sees, under the same name."""

    path: str
    writable: bool = False
    device: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Walls:
    """What all programs of one image share on a target.

    ``image`` is the digest of its content, None for the node's own root. ``node`` is the folder
    for unpacked images, ``tools`` the Lab's host tools; both paths are absolute on the target.
    ``hidden`` folders of the node's own root are not shown. ``secrets`` are names of variables
    that the runtime's own process has and passes on: their values stand in no command line.
    """

    base: str
    node: str
    image: str | None
    tools: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    mounts: tuple[Mount, ...] = ()
    host_paths: bool = False
    network: bool = False
    gpus: str | None = None
    hidden: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """One way to run a program.

    ``run`` gives the words of the command. A word ``@name`` stands for what only the node knows:
    the words of the array ``repx_at_name``; any other word that begins with ``@`` has one more
    (``literal``). ``functions`` are texts of bash that templates/runtime.sh calls on the node, for
    the runtime NAME: ``repx_try_NAME`` tells whether it works there, or says ``why`` not;
    ``repx_prepare_NAME`` makes the node ready for an image, under a lock, once. Where the end of
    the process tree does not end all, ``repx_begin_NAME`` comes before an attempt,
    ``repx_end_NAME`` asks the program to stop, ``repx_after_NAME`` removes what is left.
    ``ask`` is what the administrator of a node can do where the runtime does not work.
    """

    name: str
    run: Callable[[Launch, Walls, Resources], tuple[str, ...]]
    functions: tuple[str, ...]
    isolates: bool = True
    ask: str = ""


def literal(word: str) -> str:
    """Return a word that is no placeholder, whatever it is."""
    return PLACEHOLDER + word if word.startswith(PLACEHOLDER) else word


def literals(words: Iterable[str]) -> tuple[str, ...]:
    """Return words of which none is a placeholder."""
    return tuple(map(literal, words))


def view(launch: Launch, walls: Walls) -> tuple[Mount, ...]:
    """Return what a program sees of the node: parents before what lies inside them.

    That is the artifacts and its inputs, its own ``out`` and ``repx``, and what the target opens.
    """
    own = {f"{launch.folder}/{name}" for name in ("out", "repx")}
    read = {f"{walls.base}/{name}" for name in ("artifacts", "labs")}
    read |= {launch.inputs_file, launch.parameters_file}
    read.update(launch.inputs.values())
    if launch.phase == "gather":  # its input names the outputs of every branch
        read.add(launch.folder)
    shown = {path: Mount(path=path) for path in read if not _inside(path, own)}
    shown.update({mount.path: mount for mount in walls.mounts})
    shown.update({path: Mount(path=path, writable=True) for path in own})
    return tuple(shown[path] for path in sorted(shown, key=lambda path: path.split("/")))


def mount_fields(*fields: str) -> str:
    """Return a value of an engine's --mount, which is a line of CSV."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(fields)
    return line.getvalue()


def environment(walls: Walls) -> dict[str, str]:
    """Return the variables of an isolated program: nothing else is set."""
    found = {"PATH": SYSTEM_PATH, "HOME": HOME, "TERM": "xterm", **walls.environment}
    if walls.tools:
        found["PATH"] = f"{walls.tools}:{found['PATH']}"
    return found


def handing_on(walls: Walls, text: str, words: Iterable[str]) -> tuple[str, ...]:
    """Return words behind a text of bash that gets at the secrets, where there are any.

    The text is given their names, their number as ``$0``, and the words behind them.
    """
    names = walls.secrets
    return ("bash", "-c", text, str(len(names)), *names, *words) if names else tuple(words)


def own_gpus(asked: Resources) -> tuple[str, ...]:
    """Return the place of the words that name a job's GPUs to it (`repx_own_gpus` on the node)."""
    return ("@own",) if asked.gpus else ()


def mount_points(walls: Walls) -> tuple[str, ...]:
    """Return the paths below which something is mounted on an image's root."""
    return (walls.base, *(mount.path for mount in walls.mounts))


def _inside(path: str, folders: Iterable[str]) -> bool:
    return any(path == folder or path.startswith(f"{folder}/") for folder in folders)
