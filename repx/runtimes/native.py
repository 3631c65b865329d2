"""native: the program as it is, on the node as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from repx.runtimes.contract import Runtime, Walls, literals

if TYPE_CHECKING:
    from repx.launch import Launch
    from repx.target import Resources

# A Lab with an image runs natively where its programs find their interpreters.
_SHELL: Final = r"""
repx_try_native() {
  local interpreter
  repx_interpreter "$repx_executable" || return 0
  interpreter=$REPLY
  repx_why="$repx_executable needs $interpreter, which only the image ${repx_image_name:-} has; "
  repx_why+="name what can run images (bwrap, podman, ...) in \`runtime:\` of the target"
  [[ -x $interpreter ]]
}

repx_prepare_native() { :; }
"""


def _run(launch: Launch, _walls: Walls, _asked: Resources) -> tuple[str, ...]:
    return literals(launch.words)


NATIVE: Final = Runtime(name="native", run=_run, functions=(_SHELL,), isolates=False)
