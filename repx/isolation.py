"""Files that isolated jobs need besides their scripts: the shell library, a file per room."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Final

from repx import assets, render
from repx.render import Raw, RenderedFile
from repx.runtimes.rooms import library
from repx.target import Resources

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from repx.launch import Launch
    from repx.runtimes.rooms import Room, Value

_TEXT: Final = 0o644


def files(rooms: Iterable[Room]) -> Iterator[RenderedFile]:
    """Yield the files that jobs need to enter their rooms; none if there are no rooms."""
    by_key = {room.key: room for room in rooms}
    if not by_key:
        return
    text = "\n".join([_template("runtime.sh"), library(by_key.values())])
    yield RenderedFile(path="isolation.sh", text=text, mode=_TEXT)
    yield RenderedFile(path="unpack.sh", text=_template("unpack.sh"), mode=_TEXT)
    for key, room in by_key.items():
        lines = "".join(f"{name}={_value(value)}\n" for name, value in room.lines.items())
        yield RenderedFile(path=f"rooms/{key}.sh", text=lines, mode=_TEXT)


def debug_script(it: Launch, room: Room, base: str) -> str:
    """Return the script that starts a launch in its room, for `repx debug-run`."""
    return render.fill(
        render.environment(),
        "debug.sh.j2",
        shown=it.executable,
        folder=it.folder,
        store=base,
        executable=it.executable,
        room=room.key,
        command=Raw(shlex.join(it.words)),
        isolated={Raw(name): Raw(shlex.join(words)) for name, words in room.words(it, Resources())},
    )


def _template(name: str) -> str:
    return assets.path(f"templates/{name}").read_text(encoding="utf-8")


def _value(value: Value) -> str:
    return shlex.quote(value) if isinstance(value, str) else f"({shlex.join(value)})"
